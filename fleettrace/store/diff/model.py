"""What a comparison of two runs says, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleettrace.summary.key import Key
from fleettrace.summary.run import RunInfo

__all__ = ["Apart", "Change", "ChangeKind", "ComparedKind", "Diff", "Side"]


class ComparedKind(StrEnum):
    """What changed."""

    KEY = "key"
    TEMPLATE = "template"
    HOST = "host"


class ChangeKind(StrEnum):
    """How it changed."""

    NEW = "new"
    """Not seen at all before."""
    GONE = "gone"
    """Not seen at all after."""
    RISEN = "risen"
    FALLEN = "fallen"
    MOVED = "moved"
    """A key that has left a host for another."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs' figures, of the hosts that are compared."""

    requests: int
    """The fewest there can have been."""
    requests_max: int
    share: float | None
    """Part of the requests of the hosts compared."""
    rate: float | None
    """Requests per second."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that neither the bounds nor the noise explain."""

    subject: ComparedKind
    kind: ChangeKind
    name: Key | str
    before: Side
    after: Side
    ratio: float | None
    """The rate after as a multiple of the rate before; None where one of them is 0, or nothing was traced before."""
    ratio_min: float | None
    ratio_max: float | None
    """The multiple lies between these two in 99 of 100 cases, bounds and noise allowed for; None: no limit known."""
    chance: float
    """The chance of such a change without a cause, corrected for the number of things that were looked at. 0 where it
    is no matter of chance."""
    host_before: str | None = None
    host_after: str | None = None
    """For a key that moved: the hosts."""

    @property
    def size(self) -> float:
        """How much traffic is behind it, in requests per second: what changes are ordered by."""
        return abs((self.after.rate or 0.0) - (self.before.rate or 0.0))


@dataclass(frozen=True, slots=True)
class Apart:
    """A host that could not be compared."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class Diff:
    """Two runs compared."""

    before: RunInfo
    after: RunInfo
    hosts: tuple[str, ...]
    """The hosts compared: those that were traced wholly, and in the same way, in both."""
    apart: tuple[Apart, ...]
    rate_before: float | None
    rate_after: float | None
    """Requests per second of the hosts compared."""
    tested: int
    """Things looked at."""
    changes: tuple[Change, ...]
    """Those with the most traffic behind them first."""
    notes: tuple[str, ...] = ()

    def of(self, subject: ComparedKind, kind: ChangeKind | None = None) -> tuple[Change, ...]:
        """The changes of one subject, and of one kind."""
        return tuple(one for one in self.changes if one.subject is subject and kind in (None, one.kind))
