"""Decide which runs count the same requests of the same hosts, so that they can be compared. Pure.

Two runs are comparable when the play's file and name, the inventory, the host pattern and the options that change what
is counted are equal. The window may differ, because rates are compared; an edited inventory is the same inventory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Likeness", "not_comparable"]


class Likeness(NamedTuple):
    """The part of a run that decides whether it can be compared with another; empty where a run has none of it.

    Histories of earlier versions have no inventory and no file: their runs are comparable with each other only.
    """

    playbook: str
    """The play's title, with the part of the hosts that it was limited to."""
    playbook_file: str
    inventory: str
    pattern: str
    options: str
    """As JSON (`RunInfo.options`)."""

    def differences(self, other: Likeness) -> tuple[str, ...]:
        """Return what differs from `other`, as users name it; empty for comparable runs."""
        parts = {
            "the play": (self.playbook, other.playbook),
            "the playbook's file": (self.playbook_file, other.playbook_file),
            "the inventory": (self.inventory, other.inventory),
            "the host pattern": (self.pattern, other.pattern),
        }
        found = [name for name, (one, another) in parts.items() if one != another]
        if self.options != other.options:
            mine, others = _read(self.options), _read(other.options)
            found += [f"--{name}" for name in sorted({*mine, *others}) if mine.get(name) != others.get(name)]
        return tuple(found)


def not_comparable(likeness: Likeness, earlier: Sequence[tuple[str, Likeness]]) -> str:
    """Return why none of the earlier runs (the newest first) is comparable: in what the newest one differs."""
    if not earlier:
        return "it is the first of its kind"
    run, newest = earlier[0]
    return f"{run} differs in {', '.join(likeness.differences(newest))}"


def _read(options: str) -> dict[str, object]:
    """Return the options of a run; a text of an unknown form is one unnamed option."""
    try:
        read = json.loads(options or "{}")
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"options": options}
