"""The evidence that rules are judged on: one run's report, the run before it, and what either lacks. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from fleettrace.playbook.findings import SubjectKind
from fleettrace.playbook.rules.values import ANY_NUMBER, ANY_PART, Bounds, Measurement
from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.host_folding import fold
from fleettrace.report.model import HostRow, KeyRow, Report, TemplateRow
from fleettrace.store.diff.baseline import Baseline
from fleettrace.store.diff.compare import FLEET_CHANGE, MIN_CHANGE, compare
from fleettrace.store.diff.model import Change, ComparedKind, Diff
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.key import Key

__all__ = ["EvalContext", "Evidence", "Subject", "rounded"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run's report, and the runs to compare.

    Rules judge only the keys and families of `report`: it needs as many as the history stores (`STORED_KEYS` keys and
    200 families), however many the user sees.
    """

    report: Report
    stored: StoredRun | None = None
    """The same run as the history stores it; needed for changes since the baseline."""
    baseline: Baseline | None = None
    """What to compare with; None when no run is comparable."""
    no_baseline: str = "it is the first of its kind"
    """The reason for a missing baseline."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule judges: a key, a family, a host, or the whole run."""

    kind: SubjectKind
    name: Key | str | None = None
    row: KeyRow | TemplateRow | HostRow | None = None
    """Its row of the report; None for a subject of the baseline only, and for any key that no host listed."""

    @property
    def shown(self) -> str:
        """Return its name, escaped for a terminal."""
        if self.name is None:
            return ""
        return escape_key(self.name.data) if isinstance(self.name, Key) else escape_text(self.name)


_SUBJECTS = {
    SubjectKind.KEY: ComparedKind.KEY,
    SubjectKind.TEMPLATE: ComparedKind.TEMPLATE,
    SubjectKind.HOST: ComparedKind.HOST,
}


class EvalContext:
    """The evidence, with cached means and comparisons."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.report = evidence.report
        self.totals = evidence.report.totals
        self._diffs: dict[tuple[float, float], Diff] = {}
        self._means: dict[Callable[[EvalContext, Subject], Measurement], tuple[Bounds | None, Bounds | None]] = {}
        self._changes: dict[int, dict[tuple[ComparedKind, Key | str], tuple[Change, ...]]] = {}
        rows = {row.host: row for row in evidence.report.hosts}
        self._missing = tuple(self.totals.missing)
        self._approximate = tuple(name for name, row in rows.items() if _approximate(row))

    @cached_property
    def gaps(self) -> tuple[str, ...]:
        """Return the reasons why the traced hosts do not stand for the whole fleet; empty when they do."""
        why = []
        if self._missing:
            verb = "is" if len(self._missing) == 1 else "are"
            why.append(f"{escape_text(fold(self._missing))} {verb} missing or incomplete")
        if self._approximate:
            why.append(f"counts are approximate on {escape_text(fold(self._approximate))}")
        return tuple(why)

    def count(self, low: float, high: float) -> Measurement:
        """Return a count or rate of the fleet: missing hosts can only add to it, approximate counts bound nothing."""
        return self._count(Bounds(low, high), missing=bool(self._missing), approximate=bool(self._approximate))

    def part(self, low: float, high: float) -> Measurement:
        """Return a share of the fleet."""
        return Measurement(Bounds(low, high), ANY_PART if self.gaps else Bounds(low, high))

    def words(self, *words: str) -> Measurement:
        """Return one of these words; where hosts are missing, any other word is possible in the fleet."""
        return Measurement(frozenset(words), None if self.gaps else frozenset(words))

    def on_host(self, row: HostRow, value: float) -> Measurement:
        """Return a count or rate of one host."""
        return self._count(
            Bounds(rounded(value), rounded(value)), missing=row.host in self._missing, approximate=_approximate(row)
        )

    @staticmethod
    def _count(seen: Bounds, *, missing: bool, approximate: bool) -> Measurement:
        if approximate:
            return Measurement(seen, ANY_NUMBER)
        return Measurement(seen, Bounds(seen.low, ANY_NUMBER.high) if missing else seen)

    def mean(self, read: Callable[[EvalContext, Subject], Measurement]) -> tuple[Bounds | None, Bounds | None]:
        """Return the mean over the hosts that have the value, seen and in the fleet; None where no host has it."""
        if read not in self._means:
            measurements = [read(self, each) for each in self.subjects(SubjectKind.HOST)]
            seen = [one.seen for one in measurements if isinstance(one.seen, Bounds)]
            fleet = [one.fleet for one in measurements if isinstance(one.fleet, Bounds)]
            self._means[read] = _mean(seen), _mean(fleet)
        return self._means[read]

    def diff(self, min_change: float = MIN_CHANGE, fleet_change: float = FLEET_CHANGE) -> Diff | None:
        """Return the changes since the baseline of at least `min_change` (a share), of the total rate `fleet_change`;
        None without a baseline."""
        before, after = self.evidence.baseline, self.evidence.stored
        if before is None or after is None:
            return None
        least = min_change, max(fleet_change, min_change)
        if least not in self._diffs:
            self._diffs[least] = compare(before, after, min_change=least[0], fleet_change=least[1])
        return self._diffs[least]

    def changes(self, diff: Diff, subject: Subject) -> tuple[Change, ...]:
        """Return the changes of a subject; all of them for the whole run."""
        if subject.kind is SubjectKind.TOTALS:
            return diff.changes
        if subject.name is None:
            return ()
        known = self._changes.get(id(diff))
        if known is None:
            known = self._changes[id(diff)] = {}
            for one in diff.changes:
                known[one.subject, one.name] = (*known.get((one.subject, one.name), ()), one)
        return known.get((_SUBJECTS[subject.kind], subject.name), ())

    def subjects(self, kind: SubjectKind, changed: Iterable[float] = ()) -> list[Subject]:
        """Return the subjects of a kind: those of the report, and those that the comparisons (`changed`) add."""
        report = self.report
        if kind is SubjectKind.TOTALS:
            return [Subject(kind)]
        found: dict[Key | str, Subject] = {}
        if kind is SubjectKind.KEY:
            found = {row.key: Subject(kind, row.key, row) for row in report.keys}
        elif kind is SubjectKind.TEMPLATE:
            found = {row.template: Subject(kind, row.template, row) for row in report.templates}
        else:
            found = {row.host: Subject(kind, row.host, row) for row in report.hosts}
        for min_change in changed:
            diff = self.diff(min_change)
            for change in diff.of(_SUBJECTS[kind]) if diff is not None else ():
                found.setdefault(change.name, Subject(kind, change.name))
        return list(found.values())

    def place(self, row: KeyRow) -> Bounds:
        """Return the key's rank among the hottest on the traced hosts, from 1 on."""
        fewest, most = self._sorted
        above = len(fewest) - bisect_right(fewest, row.requests_max)
        reach = len(most) - bisect_right(most, row.requests) - (row.requests_max > row.requests)
        # Any number of unlisted keys can have had more requests.
        unlisted = float("inf") if self.unlisted_max > row.requests else 0.0
        return Bounds(above + 1, reach + 1 + unlisted)

    @cached_property
    def _sorted(self) -> tuple[list[int], list[int]]:
        keys = self.report.keys
        return sorted(row.requests for row in keys), sorted(row.requests_max for row in keys)

    @cached_property
    def unlisted_max(self) -> int:
        """Return the most requests that a key outside the report can have had."""
        absent, keys = self.totals.absent or 0, self.report.keys
        if self.evidence.stored is not None and len(keys) >= len(self.evidence.stored.keys):
            return self.evidence.stored.absent
        complete = len(keys) < self.report.top
        return absent if complete or not keys else absent + keys[-1].requests

    def was_beyond_top(self, key: Key, number: int) -> bool | None:
        """Return whether the key was outside the top `number` of the baseline; None where its bounds allow both."""
        baseline = self.evidence.baseline
        if baseline is None:
            return None
        known, absent = self._earlier_counts
        low, high = known.get(key, Bounds(0, absent))
        fewest = sorted(one.low for name, one in known.items() if name != key)
        most = sorted(one.high for name, one in known.items() if name != key)
        if len(fewest) - bisect_right(fewest, high) >= number:
            return True
        surely_among = key in known and len(most) - bisect_left(most, low) < number and low > absent
        return False if surely_among else None

    @cached_property
    def _earlier_counts(self) -> tuple[dict[Key, Bounds], float]:
        """Return the requests of each key in the baseline, and the most of any other key."""
        assert self.evidence.baseline is not None
        counts = self.evidence.baseline.counts()
        known = {key: counts.key(key) for key in counts.keys}
        return {key: Bounds(one.least, one.most) for key, one in known.items()}, counts.absent


def rounded(value: float) -> float:
    """Round off floating-point noise, so that 50 requests in 10 s are not more than 5/s."""
    return float(f"{value:.12g}")


def _mean(values: Sequence[Bounds]) -> Bounds | None:
    return Bounds(fmean(one.low for one in values), fmean(one.high for one in values)) if values else None


def _approximate(row: HostRow) -> bool:
    return any(one.requests is not None and not one.probe.exact for one in row.instances)
