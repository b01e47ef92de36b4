"""Bound the time that the analysis of one binary takes.

Any local user of a node can run a binary that is made to be slow to analyse, and all hosts of a run share one processor
of the controller. So every loop over the content of a binary counts its steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleettrace.errors import FleettraceError

__all__ = ["INSTRUCTION_STEPS", "MAX_STEPS", "BinaryError", "ExhaustedError", "Work"]

MAX_STEPS = 4_000_000
"""Steps of one analysis, each about a microsecond. Of 127 builds of memcached (tests/matrix/cells.py, Debian 11 to
14) none takes more than 540,000."""
INSTRUCTION_STEPS = 8
"""Steps of an instruction that is disassembled."""


class BinaryError(FleettraceError):
    """A file is not an ELF file this tool can read. The text is the reason, on one line."""


class ExhaustedError(BinaryError):
    """The analysis of a file takes too many steps."""


@dataclass(slots=True)
class Work:
    """Counts the steps of one analysis."""

    left: int = MAX_STEPS

    def spend(self, steps: int = 1) -> None:
        """Count `steps`. Raises `BinaryError` when the analysis has taken too many."""
        self.left -= steps
        if self.left < 0:
            raise ExhaustedError(f"its analysis takes more than {MAX_STEPS:,} steps, which no known memcached does")
