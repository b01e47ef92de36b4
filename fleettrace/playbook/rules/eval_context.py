"""What rules are judged on: one run's report, the run before it, and what is missing in either. Pure."""

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
from fleettrace.store.diff.compare import MIN_CHANGE, compare
from fleettrace.store.diff.model import Change, ComparedKind, Diff
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.key import Key

__all__ = ["EvalContext", "Evidence", "Subject", "rounded"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a run.

    Only the keys and families of `report` are judged: let it have as many of them as are kept (`STORED_KEYS`, and 200
    families), whatever the reader is shown.
    """

    report: Report
    kept: StoredRun | None = None
    """The same run as the history keeps it; needed for what changed since the baseline."""
    baseline: StoredRun | None = None
    """The run before it of the same audit; None when there is none."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule is asked of: a key, a family, a host, or the whole run."""

    kind: SubjectKind
    name: Key | str | None = None
    row: KeyRow | TemplateRow | HostRow | None = None
    """Its row of the report; None for what is no longer there, and for any key that no host listed."""

    @property
    def shown(self) -> str:
        """Its name, harmless on a terminal."""
        if self.name is None:
            return ""
        return escape_key(self.name.data) if isinstance(self.name, Key) else escape_text(self.name)


_SUBJECTS = {
    SubjectKind.KEY: ComparedKind.KEY,
    SubjectKind.TEMPLATE: ComparedKind.TEMPLATE,
    SubjectKind.HOST: ComparedKind.HOST,
}


class EvalContext:
    """The evidence, with what rules ask of it again and again."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.report = evidence.report
        self.totals = evidence.report.totals
        self._diffs: dict[float, Diff] = {}
        self._means: dict[Callable[[EvalContext, Subject], Measurement], tuple[Bounds | None, Bounds | None]] = {}
        self._changes: dict[int, dict[tuple[ComparedKind, Key | str], tuple[Change, ...]]] = {}
        rows = {row.host: row for row in evidence.report.hosts}
        self._missing = tuple(self.totals.missing)
        self._approximate = tuple(name for name, row in rows.items() if _approximate(row))

    @cached_property
    def open_why(self) -> tuple[str, ...]:
        """What keeps the figures of what was seen from being those of the whole fleet; empty when nothing does."""
        why = []
        if self._missing:
            verb = "is" if len(self._missing) == 1 else "are"
            why.append(f"{escape_text(fold(self._missing))} {verb} missing or incomplete")
        if self._approximate:
            why.append(f"counts are approximate on {escape_text(fold(self._approximate))}")
        return tuple(why)

    def count(self, low: float, high: float) -> Measurement:
        """A count, or a rate, of the fleet: what is missing can only add to it, approximate counts say nothing sure."""
        return self._count(Bounds(low, high), missing=bool(self._missing), approximate=bool(self._approximate))

    def part(self, low: float, high: float) -> Measurement:
        """A part of something of the fleet."""
        return Measurement(Bounds(low, high), ANY_PART if self.open_why else Bounds(low, high))

    def words(self, *words: str) -> Measurement:
        """One of these words, which what is missing could make another."""
        return Measurement(frozenset(words), None if self.open_why else frozenset(words))

    def on_host(self, row: HostRow, value: float) -> Measurement:
        """A count, or a rate, of one host."""
        return self._count(
            Bounds(rounded(value), rounded(value)), missing=row.host in self._missing, approximate=_approximate(row)
        )

    @staticmethod
    def _count(seen: Bounds, *, missing: bool, approximate: bool) -> Measurement:
        if approximate:
            return Measurement(seen, ANY_NUMBER)
        return Measurement(seen, Bounds(seen.low, ANY_NUMBER.high) if missing else seen)

    def mean(self, read: Callable[[EvalContext, Subject], Measurement]) -> tuple[Bounds | None, Bounds | None]:
        """The mean of a figure over the hosts that have it, seen and whole; None where none has."""
        if read not in self._means:
            readings = [read(self, each) for each in self.things(SubjectKind.HOST)]
            seen = [one.seen for one in readings if isinstance(one.seen, Bounds)]
            whole = [one.whole for one in readings if isinstance(one.whole, Bounds)]
            self._means[read] = _mean(seen), _mean(whole)
        return self._means[read]

    def diff(self, min_change: float = MIN_CHANGE) -> Diff | None:
        """What changed since the baseline by this part and more; None where there is nothing to compare with."""
        before, after = self.evidence.baseline, self.evidence.kept
        if before is None or after is None:
            return None
        if min_change not in self._diffs:
            self._diffs[min_change] = compare(before, after, min_change=min_change)
        return self._diffs[min_change]

    def changes(self, diff: Diff, thing: Subject) -> tuple[Change, ...]:
        """Those of a thing; all of them for the whole run."""
        if thing.kind is SubjectKind.TOTALS:
            return diff.changes
        if thing.name is None:
            return ()
        known = self._changes.get(id(diff))
        if known is None:
            known = self._changes[id(diff)] = {}
            for one in diff.changes:
                known[one.subject, one.name] = (*known.get((one.subject, one.name), ()), one)
        return known.get((_SUBJECTS[thing.kind], thing.name), ())

    def things(self, kind: SubjectKind, changed: Iterable[float] = ()) -> list[Subject]:
        """Everything of a kind: the report's, and what one of the comparisons (`changed`) names beside."""
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
        """The key's place among the hottest, of what was seen: 1 for the first."""
        fewest, most = self._sorted
        above = len(fewest) - bisect_right(fewest, row.requests_max)
        reach = len(most) - bisect_right(most, row.requests) - (row.requests_max > row.requests)
        # Of the keys that are not listed, as many as fit could have had more.
        unlisted = float("inf") if self.unlisted_most > row.requests else 0.0
        return Bounds(above + 1, reach + 1 + unlisted)

    @cached_property
    def _sorted(self) -> tuple[list[int], list[int]]:
        keys = self.report.keys
        return sorted(row.requests for row in keys), sorted(row.requests_max for row in keys)

    @cached_property
    def unlisted_most(self) -> int:
        """The most requests that a key can have had which is not in the report."""
        absent, keys = self.totals.absent or 0, self.report.keys
        if self.evidence.kept is not None and len(keys) >= len(self.evidence.kept.keys):
            return self.evidence.kept.absent
        complete = len(keys) < self.report.top
        return absent if complete or not keys else absent + keys[-1].requests

    def surely_beyond(self, key: Key, number: int) -> bool | None:
        """Whether the key was not among the `number` hottest of the baseline; None where its bounds leave it open."""
        baseline = self.evidence.baseline
        if baseline is None:
            return None
        known = {one.key: one for one in baseline.keys}.get(key)
        low, high = (0, baseline.absent) if known is None else (known.requests, known.requests_max)
        fewest = sorted(one.requests for one in baseline.keys if one.key != key)
        most = sorted(one.requests_max for one in baseline.keys if one.key != key)
        if len(fewest) - bisect_right(fewest, high) >= number:
            return True
        surely_among = known is not None and len(most) - bisect_left(most, low) < number and low > baseline.absent
        return False if surely_among else None


def rounded(value: float) -> float:
    """Without the last digits, which calculating with fractions leaves: 50 requests in 10 s are not more than 5/s."""
    return float(f"{value:.12g}")


def _mean(values: Sequence[Bounds]) -> Bounds | None:
    return Bounds(fmean(one.low for one in values), fmean(one.high for one in values)) if values else None


def _approximate(row: HostRow) -> bool:
    return any(one.requests is not None and not one.probe.exact for one in row.instances)
