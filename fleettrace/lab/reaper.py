"""Removes a lab whose owner died without doing so: waits on a pipe that only the owner holds.

Started as a plain script with the lab's id; the end of its standard input is the owner's end. An orderly owner has
removed the lab before, and then there is nothing left to do.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Wait for the owner's end, then remove every lab whose owner is dead."""
    name = sys.argv[1]
    sys.stdin.buffer.read()
    if Path("/run/fleettrace-lab", name).exists():
        sys.path.insert(0, str(Path(__file__).parents[2]))
        from fleettrace.lab.state import sweep_stale

        sweep_stale()


if __name__ == "__main__":
    main()
