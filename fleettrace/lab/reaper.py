"""Remove a lab after its owner has died without removing it.

`Lab` starts this file as a script with the lab's id. Only the owner holds the other end of its standard input, so the
end of that input means that the owner has ended. An owner that ends in order has removed the lab before.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Wait for the owner's end, then remove every lab that has no living owner."""
    name = sys.argv[1]
    sys.stdin.buffer.read()
    if Path("/run/fleettrace-lab", name).exists():
        sys.path.insert(0, str(Path(__file__).parents[2]))
        from fleettrace.lab.state import sweep_stale

        sweep_stale()


if __name__ == "__main__":
    main()
