"""Files that ship with the package but live at the top of the source tree: `bpftrace/` and `playbooks/`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["resource_dir"]


def resource_dir(name: str) -> Path:
    """Return the directory `name` (`bpftrace` or `playbooks`) of the installed package, or of a checkout."""
    package = Path(__file__).parent
    installed = package / "data" / name
    return installed if installed.is_dir() else package.parent / name
