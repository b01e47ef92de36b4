"""Select the lines of bpftrace's and its compiler's standard error that show why a trace failed. Pure.

Both also print warnings about valid programs, excerpts of the program, and numbers of warnings. An error may have a
HINT, which names the cure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["complaints", "no_error", "readable"]

_MOST = 3
_HARMLESS = (
    # bpftrace raises its limit for locked memory, and prints ERROR where that is forbidden; it works nevertheless.
    re.compile(rb"RLIMIT_MEMLOCK"),
    # Without tracefs libbcc fails to remove a uprobe in the old way; it has already removed it in the new way.
    re.compile(rb"uprobe_events\): No such file|failed to detach probe"),
    re.compile(rb"^\d+ (?:warnings?|errors?)(?: and \d+ errors?)? generated\.$"),
    re.compile(rb"^Attaching \d+ probes?\.\.\.$"),
)
_BINARY = re.compile(r"[\ufffd\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_POSITION = re.compile(rb"[\w./<>-]+:\d+(?::\d+)?(?:-\d+)?: ")
_SEVERITY = re.compile(
    rb"(?:[\w./<>-]+:\d+(?::\d+)?(?:-\d+)?: )?(ERROR|WARNING|HINT|INFO|fatal error|error|warning|note): ?"
)
_EXCERPT = re.compile(rb"\s*\d* \|")
"""An excerpt of the program, as clang 17 and later print it."""
_MARKER = re.compile(rb"[\s|]*[~^][\s~^]*")
"""The line below an excerpt."""


def complaints(lines: Iterable[bytes]) -> list[str]:
    """Return the first messages that may be the reason of a failure, and the first HINTs, in order."""
    chosen: list[bytes] = []
    hints: list[bytes] = []
    for severity, line in _messages([line.rstrip() for line in lines if readable(line)]):
        if severity == b"HINT":
            hints.append(line)
        elif severity not in (b"WARNING", b"warning", b"INFO", b"note") and len(chosen) < _MOST:
            chosen.append(line)
    return [line.decode("utf-8", "replace") for line in dict.fromkeys([*chosen, *hints[:_MOST]])]


def no_error(status: str, bpftrace: Sequence[str]) -> str:
    """Return the message for a bpftrace that failed and printed no error."""
    command = shlex.join([*bpftrace, "-e", "interval:s:1 { exit(); }"])
    return f"it printed no error; exit status {status}; run `{command}` on the node to see what it prints"


def readable(line: bytes) -> bool:
    """Return whether `line` is text: at most one character in eight is undecodable or a control character."""
    text = line.decode("utf-8", "replace")
    return len(_BINARY.findall(text)) * 8 <= len(text)


def _messages(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield each message's severity (empty for none) and line, without the excerpt that follows."""
    index = 0
    warned = False
    while index < len(lines):
        line = lines[index]
        index += 1
        found = _SEVERITY.match(line.strip())
        if found is None:
            # An indented line continues the message above it.
            continues = warned and line[:1] in (b" ", b"\t")
            if line.strip() and not continues and not _EXCERPT.match(line) and not _MARKER.fullmatch(line):
                warned = False
                if not any(pattern.search(line) for pattern in _HARMLESS):
                    yield b"", line.strip()
            continue
        warned = found[1] in (b"WARNING", b"warning", b"note")
        if _POSITION.match(line):
            index = _behind_excerpt(lines, index)
        if not any(pattern.search(line) for pattern in _HARMLESS):
            yield found[1], line.strip()


def _behind_excerpt(lines: list[bytes], index: int) -> int:
    """Return the index behind the excerpt of the program that follows a message; `index` without an excerpt."""
    for behind in range(index, len(lines)):
        if _MARKER.fullmatch(lines[behind]):
            return behind + 1
        if _SEVERITY.match(lines[behind].strip()):
            break
    return index
