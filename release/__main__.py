"""Build the packages of one commit.

    python -m release [--commit HEAD] [--output dist]

prints each file with its size and SHA-256, and writes the checksums to `SHA256SUMS` beside the packages.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from release.deb import build_deb
from release.pyz import build_pyz
from release.site import MACHINES, ReleaseError, build_site
from release.source import Source, export, is_modified
from release.wheel import build_sdist, build_wheel

__all__ = ["build_all"]

_ROOT = Path(__file__).parent.parent


def build_all(source: Source, output: Path) -> list[Path]:
    """Build every package in the directory `output`, and `SHA256SUMS`. Return the paths of the packages.

    Raises `ReleaseError` when the wheels of the libraries do not fit together, `CalledProcessError` when a tool fails.
    """
    output.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(source, output)
    made = [wheel, build_sdist(source, output)]
    with TemporaryDirectory(prefix="fleettrace-release-") as scratch:
        sites = {machine: Path(scratch) / machine for machine in MACHINES}
        for machine, site in sites.items():
            build_site(machine, source, wheel, site)
            made.append(build_deb(machine, source, site, output))
        made.append(build_pyz(source, sites, output))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made]
    (output / "SHA256SUMS").write_text("".join(sums))
    return made


def main() -> int:
    """Build the packages that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m release", description="Build the packages of one commit.")
    parser.add_argument("--commit", default="HEAD", help="the commit to build (default: HEAD)")
    parser.add_argument("--output", type=Path, default=_ROOT / "dist", help="the directory of the packages")
    options = parser.parse_args()
    if is_modified(_ROOT):
        print("release: uncommitted changes are not in the packages", file=sys.stderr)
    try:
        with TemporaryDirectory(prefix="fleettrace-source-") as directory:
            made = build_all(export(_ROOT, options.commit, Path(directory)), options.output)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"release: exit code {error.returncode}: {shlex.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    for path in made:
        print(f"{path.stat().st_size:>11,}  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
