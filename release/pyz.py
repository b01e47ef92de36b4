"""`fleettrace.pyz`: one executable file with fleettrace and its libraries for every supported machine type.

It holds `common.zip`, with what all machine types share, and one zip file for each of them. They are stored, so that
Python reads a short table of contents at each start. `pyz_launcher` unpacks two of them at the first start.
"""

from __future__ import annotations

import filecmp
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from release.site import GLIBC, PYTHONS, files_below, packages_with
from release.source import Source

__all__ = ["build_pyz"]

_CODE = {
    "__main__.py": "pyz_main.py",
    "release/__init__.py": "__init__.py",
    "release/pyz_launcher.py": "pyz_launcher.py",
}
"""The names of the archive's own modules in it, and in this directory."""
_INTERPRETER = b"#!/usr/bin/env python3\n"


def build_pyz(source: Source, sites: Mapping[str, Path], output: Path) -> Path:
    """Write `fleettrace.pyz` to the directory `output`, from the sites by machine type. Return its path."""
    names = {machine: {path.relative_to(site) for path in files_below(site)} for machine, site in sites.items()}
    first, *others = sites
    common = {
        name
        for name in set.intersection(*names.values())
        if all(filecmp.cmp(sites[first] / name, sites[other] / name, shallow=False) for other in others)
    }
    parts = {"common.zip": _zip(sites[first], common, source)}
    parts |= {f"{machine}.zip": _zip(sites[machine], names[machine] - common, source) for machine in sites}
    manifest = {
        "identity": hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in parts.values())).hexdigest()[:16],
        "version": source.version,
        "pythons": PYTHONS,
        "machines": list(sites),
        "glibc": GLIBC,
        "compiled": packages_with(list(names[first] - common)),
    }
    parts["manifest.json"] = json.dumps(manifest, indent=1).encode()
    parts |= {name: Path(__file__).with_name(module).read_bytes() for name, module in _CODE.items()}
    target = output / "fleettrace.pyz"
    with target.open("wb") as file:
        file.write(_INTERPRETER)
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in parts.items():
                archive.writestr(_entry(name, source, zipfile.ZIP_STORED), data)
    target.chmod(0o755)
    return target


def _zip(site: Path, names: Iterable[Path], source: Source) -> bytes:
    """Return a compressed zip file with these files of a site."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(names):
            archive.writestr(
                _entry(str(name), source, zipfile.ZIP_DEFLATED), (site / name).read_bytes(), compresslevel=9
            )
    return out.getvalue()


def _entry(name: str, source: Source, compression: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, time.gmtime(source.epoch)[:6])
    entry.compress_type = compression
    entry.external_attr = 0o100644 << 16
    return entry
