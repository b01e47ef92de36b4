"""What the transport by the system's `ssh` may leave behind, looked for on the whole machine."""

from __future__ import annotations

from pathlib import Path

__all__ = ["folders", "remains"]


def folders() -> set[Path]:
    """The private folders that are there now: those of other runs on this machine, too."""
    return set(Path("/tmp").glob("fleettrace-????????????"))


def remains(parent: int) -> list[str]:
    """Children of a process that are an `ssh`, or the shell that watches over a private folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            about = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(about[1]) == parent and (words.startswith(b"ssh\0") or b"FLEETTRACE_FOLDER" in words):
            found.append(f"{folder.name} {about[0]}: {words!r}")
    return found
