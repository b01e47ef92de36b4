"""The result of comparing two runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fleettrace.store.diff.visible import Visibility
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunInfo

__all__ = ["Change", "ChangeKind", "ComparedKind", "Diff", "ExcludedHost", "OlderBaseline", "Side"]


class ComparedKind(StrEnum):
    """What changed."""

    KEY = "key"
    TEMPLATE = "template"
    HOST = "host"
    FLEET = "fleet"
    """The requests of all compared hosts together."""
    COVERAGE = "coverage"
    """The traced part of the requests that memcached counted, on the compared hosts."""


class ChangeKind(StrEnum):
    """How it changed."""

    NEW = "new"
    """Not present before."""
    GONE = "gone"
    """Not present after."""
    RISEN = "risen"
    FALLEN = "fallen"
    MOVED = "moved"
    """A key that moved from one host to another."""


@dataclass(frozen=True, slots=True)
class Side:
    """The numbers of one run on the compared hosts."""

    requests: int
    """Lower bound."""
    requests_max: int
    share: float | None
    """Fraction of the requests of the compared hosts."""
    rate: float | None
    """Requests per second."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that neither the bounds nor noise explain."""

    subject: ComparedKind
    kind: ChangeKind
    name: Key | str
    before: Side
    after: Side
    ratio: float | None
    """The rate after divided by the rate before; None if one of them is 0, or nothing was traced before."""
    ratio_min: float | None
    ratio_max: float | None
    """99 % confidence interval of `ratio`, including bounds and noise; None: no limit known."""
    chance: float
    """The chance of such a change in an unchanged fleet, corrected for the number of tests; 0 if chance plays no
    part."""
    fleet_min: float | None = None
    fleet_max: float | None = None
    """The same for the whole fleet, with what the hosts that are not compared can add."""
    host_before: str | None = None
    host_after: str | None = None
    """The hosts of a key that moved."""
    selected: str = ""
    """For a host that only one run selected: `no longer selected` or `newly selected`."""
    renamed: str | None = None
    """The host of the other run that it may be under another name: only these two have its address or its boot id."""

    def surely(self, times: float) -> bool:
        """Return whether the whole fleet's interval lies beyond a change by the factor `times` (more than 1)."""
        if self.kind is ChangeKind.MOVED or self.subject is ComparedKind.COVERAGE or self.selected:
            return True
        if self.kind in (ChangeKind.NEW, ChangeKind.RISEN):
            return self.fleet_min is None or self.fleet_min >= times
        return self.fleet_max is not None and self.fleet_max <= 1 / times

    @property
    def size(self) -> float:
        """The change of the rate in requests per second, by which changes are sorted."""
        return abs((self.after.rate or 0.0) - (self.before.rate or 0.0))


@dataclass(frozen=True, slots=True)
class ExcludedHost:
    """A host that cannot be compared."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class OlderBaseline:
    """A run that is the baseline of some hosts, because later ones did not trace them completely."""

    run: str
    hosts: tuple[str, ...]
    level: float = 1.0
    """The factor by which its rates are multiplied: from the level of all traffic then to that of `before`."""


@dataclass(frozen=True, slots=True)
class Diff:
    """The result of comparing two runs."""

    before: RunInfo
    after: RunInfo
    hosts: tuple[str, ...]
    """The compared hosts: traced completely, and in the same way, in both runs."""
    excluded: tuple[ExcludedHost, ...]
    rate_before: float | None
    rate_after: float | None
    """Requests per second of the compared hosts."""
    tested: int
    """Number of tests."""
    changes: tuple[Change, ...]
    """The largest change of the rate first."""
    notes: tuple[str, ...] = ()
    older: tuple[OlderBaseline, ...] = ()
    """The baselines beside `before`."""
    visibility: Visibility | None = field(default=None, compare=False, repr=False)
    """What the comparison could have shown."""

    def of(self, subject: ComparedKind, kind: ChangeKind | None = None) -> tuple[Change, ...]:
        """Return the changes of one subject, optionally of one kind."""
        return tuple(one for one in self.changes if one.subject is subject and kind in (None, one.kind))
