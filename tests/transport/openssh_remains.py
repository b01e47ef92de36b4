"""Find what the transport `openssh` may leave behind: its private directory, and processes that use it."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["private_directory", "remains", "users_of"]


def remains(parent: int) -> list[str]:
    """Return the children of a process that are an `ssh`, or the shell that removes the private directory."""
    return [line for line, of, words in _processes() if of == parent and re.match(rb"ssh\0|/bin/sh\0-c\0", words)]


def private_directory(parent: int) -> Path:
    """Return the private directory of a controller with at least one login."""
    found = {
        match[0].decode()
        for _, of, words in _processes()
        if of == parent and (match := re.search(rb"/tmp/fleettrace-[0-9a-f]{12}(?=/)", words))
    }
    [directory] = found
    return Path(directory)


def users_of(directory: Path) -> list[str]:
    """Return the processes that have the directory in their arguments or environment."""
    return [line for line, _, words in _processes() if str(directory).encode() in words]


def _processes() -> list[tuple[str, int, bytes]]:
    """Return a description of each process, its parent, its arguments and environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            about = (process / "stat").read_text().rpartition(")")[2].split()
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        found.append((f"{process.name} {about[0]}: {words[:200]!r}", int(about[1]), words))
    return found
