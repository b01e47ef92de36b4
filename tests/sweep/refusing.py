"""A bpftrace that really refuses some programs: it adds more strings to them than fit on the stack.

It stands for the verifiers of other kernels, which `tests/machines` tests for real.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["refusing"]

_SCRIPT = """#!/usr/bin/env python3
import os, re, subprocess, sys

words = sys.argv[1:]


def spoilt(text):
    if re.search({pattern!r}, text):
        strings = ", ".join(f"str((uint64){{number}}, 70)" for number in range(9))
        text += "\\ninterval:s:1 {{ @far_too_large[" + strings + "] = count(); }}\\n"
    return text


if "-e" in words:
    at = words.index("-e") + 1
    words[at] = spoilt(words[at])
elif "-" in words:
    reading, writing = os.pipe()
    text = spoilt(sys.stdin.read())
    if os.fork() == 0:
        os.close(reading)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    os.dup2(reading, 0)
os.execvp("bpftrace", ["bpftrace", *words])
"""


def refusing(directory: Path, pattern: str) -> str:
    """Return the path of a bpftrace that loads no program in which the regular expression `pattern` is found."""
    path = directory / "refusing-bpftrace"
    path.write_text(_SCRIPT.format(pattern=pattern))
    path.chmod(0o755)
    return str(path)
