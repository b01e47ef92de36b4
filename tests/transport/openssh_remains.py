"""What the transport by the system's `ssh` may leave behind: its private folder, and the processes that know of it."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["knowing", "private_folder", "remains"]


def remains(parent: int) -> list[str]:
    """Children of a process that are an `ssh`, or the shell that watches over a private folder."""
    return [line for line, of, words in _processes() if of == parent and re.match(rb"ssh\0|/bin/sh\0-c\0", words)]


def private_folder(parent: int) -> Path:
    """The private folder of a controller that is logged in somewhere."""
    found = {
        match[0].decode()
        for _, of, words in _processes()
        if of == parent and (match := re.search(rb"/tmp/fleettrace-[0-9a-f]{12}(?=/)", words))
    }
    [folder] = found
    return Path(folder)


def knowing(folder: Path) -> list[str]:
    """Processes whose arguments or environment name the folder."""
    return [line for line, _, words in _processes() if str(folder).encode() in words]


def _processes() -> list[tuple[str, int, bytes]]:
    """Of each process: words about it, its parent, its arguments and environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            about = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        found.append((f"{folder.name} {about[0]}: {words[:200]!r}", int(about[1]), words))
    return found
