"""The Debian packages, one for each machine type: fleettrace with its libraries in /usr/lib/fleettrace.

`dpkg-deb` packs a tree in which every file has a fixed mode and time. A package serves every Debian and Ubuntu with
one of the supported versions of Python.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from email.parser import Parser
from email.utils import formatdate
from pathlib import Path
from tempfile import TemporaryDirectory

from release.site import GLIBC, PYTHONS, files_below
from release.source import Source

__all__ = ["ARCHITECTURES", "build_deb"]

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Debian's names of the machine types."""
_FILES = Path(__file__).with_name("debian")
_MAINTAINER_SCRIPTS = ("postinst", "prerm", "postrm")
_EXECUTABLE = {f"DEBIAN/{name}" for name in _MAINTAINER_SCRIPTS} | {"usr/bin/fleettrace"}
_DOC = "usr/share/doc/fleettrace"
_COPIED = {
    "inventory.example.yaml": "etc/fleettrace",
    "integrations/systemd/*.service": "usr/lib/systemd/system",
    "integrations/systemd/*.timer": "usr/lib/systemd/system",
    "integrations/prometheus/*.yml": f"{_DOC}/examples",
    "integrations/grafana/*.json": f"{_DOC}/examples",
    "playbooks/nightly-audit.yaml": f"{_DOC}/examples",
    "share/bash-completion/completions/*": "usr/share/bash-completion/completions",
    "share/fish/vendor_completions.d/*": "usr/share/fish/vendor_completions.d",
    "share/zsh/site-functions/*": "usr/share/zsh/vendor-completions",
}
"""Files of the source tree, and their directories in the package."""
_RENAMED = {"integrations/systemd/fleettrace-sysusers.conf": "usr/lib/sysusers.d/fleettrace.conf"}


def build_deb(machine: str, source: Source, site: Path, output: Path) -> Path:
    """Build the package for `machine` from its site in the directory `output`. Return its path."""
    architecture = ARCHITECTURES[machine]
    target = output / f"fleettrace_{source.version}_{architecture}.deb"
    with TemporaryDirectory(prefix="fleettrace-deb-") as directory:
        root = Path(directory, "root")
        shutil.copytree(site, root / "usr/lib/fleettrace")
        _copy_files(source.root, root)
        _write(root / "usr/bin/fleettrace", (_FILES / "fleettrace").read_bytes())
        _write(root / "usr/share/lintian/overrides/fleettrace", (_FILES / "lintian-overrides").read_bytes())
        (root / "etc/fleettrace/playbooks").mkdir()
        for page in sorted((source.root / "share/man/man1").iterdir()):
            _write(root / f"usr/share/man/man1/{page.name}.gz", _compressed(page.read_bytes()))
        _write(root / f"{_DOC}/copyright", _copyright(site).encode())
        _write(root / f"{_DOC}/changelog.gz", _compressed(_changelog(source).encode()))
        _write(root / f"{_DOC}/NEWS.md.gz", _compressed((source.root / "CHANGELOG.md").read_bytes()))
        _add_control(root, source, architecture)
        _normalize(root, source.epoch)
        # More threads would split the data differently.
        environment = {**source.environment, "DPKG_DEB_THREADS_MAX": "1"}
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(target)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return target


def _copy_files(source: Path, root: Path) -> None:
    for pattern, place in _COPIED.items():
        for path in sorted(source.glob(pattern)):
            _write(root / place / path.name, path.read_bytes())
    for name, place in _RENAMED.items():
        _write(root / place, (source / name).read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _add_control(root: Path, source: Source, architecture: str) -> None:
    """Add the directory DEBIAN: the description, the maintainer scripts, checksums, and the list of conffiles."""
    contents = [path.relative_to(root) for path in files_below(root)]
    size = sum(-(-(root / name).stat().st_size // 1024) for name in contents)
    lowest, _, minor = PYTHONS[0], *PYTHONS[-1].split(".")
    fields = {
        "version": source.version,
        "architecture": architecture,
        "size": size,
        "python": f"python3 (>= {lowest}), python3 (<< 3.{int(minor) + 1})",
        "glibc": GLIBC,
    }
    _write(root / "DEBIAN/control", (_FILES / "control").read_text().format(**fields).encode())
    for name in _MAINTAINER_SCRIPTS:
        _write(root / "DEBIAN" / name, (_FILES / name).read_bytes())
    configuration = [name for name in contents if name.parts[0] == "etc"]
    _write(root / "DEBIAN/conffiles", "".join(f"/{name}\n" for name in configuration).encode())
    fixed = [name for name in contents if name not in configuration]
    sums = (f"{hashlib.md5((root / name).read_bytes()).hexdigest()}  {name}\n" for name in fixed)
    _write(root / "DEBIAN/md5sums", "".join(sums).encode())


def _changelog(source: Source) -> str:
    """Return Debian's changelog, which names the version alone; NEWS.md.gz has the changes."""
    maintainer = next(
        line.removeprefix("Maintainer: ")
        for line in (_FILES / "control").read_text().splitlines()
        if line.startswith("Maintainer: ")
    )
    return (
        f"fleettrace ({source.version}) unstable; urgency=medium\n\n"
        f"  * Release {source.version}: see /usr/share/doc/fleettrace/NEWS.md.gz.\n\n"
        f" -- {maintainer}  {formatdate(source.epoch, localtime=False).replace('-0000', '+0000')}\n"
    )


def _copyright(site: Path) -> str:
    """Return the license of fleettrace, and those of the libraries as their metadata states them."""
    lines = "".join(_libraries(site))
    return (_FILES / "copyright").read_text().replace("LIBRARIES\n", lines)


def _libraries(site: Path) -> Iterator[str]:
    for path in sorted(site.glob("*.dist-info/METADATA")):
        fields = Parser().parsestr(path.read_text(), headersonly=True)
        if fields["Name"] == "fleettrace":
            continue
        named = [one.rpartition(" :: ")[2] for one in fields.get_all("Classifier", []) if one.startswith("License ::")]
        license_ = fields["License-Expression"] or " and ".join(named) or fields["License"]
        files = sorted(one for one in files_below(path.parent) if "LICEN" in one.name.upper())
        places = "".join(f"    /usr/lib/fleettrace/{one.relative_to(site)}\n" for one in files)
        yield f"  {fields['Name']} {fields['Version']}: {license_}\n{places}"


def _normalize(root: Path, epoch: int) -> None:
    """Give every file a fixed mode and time, whatever the umask is."""
    for path in [root, *root.rglob("*")]:
        name = str(path.relative_to(root))
        path.chmod(0o755 if path.is_dir() or name in _EXECUTABLE else 0o644)
        os.utime(path, (epoch, epoch))
