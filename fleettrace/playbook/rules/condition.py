"""The tests that a compiled rule consists of: of fields and of changes, joined by and, or and not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleettrace.playbook.findings import SubjectKind
from fleettrace.playbook.rules.eval_context import EvalContext, Subject
from fleettrace.playbook.rules.fields import FIELDS, Field, shown_value
from fleettrace.playbook.rules.measurements import Unit
from fleettrace.playbook.rules.values import Bounds, Judgement, Measurement, Verdict, compare_number, compare_word
from fleettrace.report.escape import escape_text
from fleettrace.report.host_folding import fold
from fleettrace.store.diff.compare import FLEET_CHANGE, MIN_CHANGE
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Diff
from fleettrace.store.diff.visible import DOUBLED
from fleettrace.summary.key import Key

__all__ = ["NO_BASELINE", "TOO_SHORT", "All", "Any", "Changed", "Comparison", "Limit", "Newcomer", "Not", "Test"]

NO_BASELINE = "no run is comparable"
"""The reason of a test that needs a baseline and has none. One finding of the whole play reports it, not one a rule."""
TOO_SHORT = "the windows are too short"
"""The reason of a test of keys that the windows could not show; one finding of the whole play reports it too."""
_UNKNOWN = Verdict.UNKNOWN


class Test(Protocol):
    """One part of a rule."""

    def judge(self, context: EvalContext, subject: Subject) -> Judgement:
        """Return whether the test holds for `subject`."""
        ...

    def parts(self) -> Iterator[Test]:
        """Yield the tests that this one consists of; a simple test yields itself."""
        ...


@dataclass(frozen=True, slots=True)
class Limit:
    """What a field is compared with: a number, or a multiple of the mean of all hosts."""

    number: float
    of_mean: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """`key.share > 5%`, `host.rate > 2 x mean`, `key.spread == everywhere`, `key.certified`."""

    field: Field
    unit: Unit
    operator: str
    limit: Limit | str

    def judge(self, context: EvalContext, subject: Subject) -> Judgement:
        """Compare the field, on the traced hosts and in the whole fleet."""
        measurement = self.field.units[self.unit](context, subject)
        seen, fleet = self._against(context, measurement)
        return Judgement(seen, fleet, self._why(context, measurement, seen, fleet))

    def _against(self, context: EvalContext, measurement: Measurement) -> tuple[Verdict, Verdict]:
        if isinstance(self.limit, str):
            word = self.limit
            seen, fleet = (compare_word(value, self.operator, word) for value in measurement)
        else:
            limits = zip(measurement, self._limits(context, self.limit), strict=True)
            seen, fleet = (compare_number(value, self.operator, limit) for value, limit in limits)
        return seen, fleet

    def _limits(self, context: EvalContext, limit: Limit) -> tuple[Bounds | None, Bounds | None]:
        if not limit.of_mean:
            exact = Bounds(limit.number, limit.number)
            return exact, exact
        seen, fleet = context.mean(self.field.units[self.unit])
        return _times(seen, limit.number), _times(fleet, limit.number)

    def _why(self, context: EvalContext, measurement: Measurement, seen: Verdict, fleet: Verdict) -> tuple[str, ...]:
        if seen is _UNKNOWN:
            return (f"{self.field.name} is not known",)
        if seen is Verdict.OPEN:
            return (f"{self.field.name} is {shown_value(measurement.seen, self.unit)}",)
        if fleet is seen:
            return ()
        return context.gaps or (f"{self.field.name} is not known exactly",)

    def parts(self) -> Iterator[Test]:
        """Yield this test."""
        yield self


def _times(mean: Bounds | None, number: float) -> Bounds | None:
    return None if mean is None else Bounds(mean.low * number, mean.high * number if number else 0.0)


@dataclass(frozen=True, slots=True)
class Changed:
    """`changed since baseline`, `key risen 2 x since baseline`: a change that neither bounds nor noise explain."""

    kind: SubjectKind
    """`TOTALS`: a change of any subject."""
    kinds: frozenset[ChangeKind]
    min_change: float = MIN_CHANGE
    about: ComparedKind | None = None
    """The subject of a change of the whole run: the total rate or the coverage; None: any."""

    def judge(self, context: EvalContext, subject: Subject) -> Judgement:
        """Return whether the comparison with the baseline has such a change."""
        diff = self.diff(context)
        if diff is None:
            return Judgement(_UNKNOWN, _UNKNOWN, (NO_BASELINE,))
        found = [one for one in context.changes(diff, subject) if self.matches(one)]
        if found:
            return _changed(found, self.min_change, diff)
        if self.about is ComparedKind.COVERAGE and context.totals.coverage is None:
            return Judgement(_UNKNOWN, _UNKNOWN, ("the coverage is not known",))
        seen = diff.visibility
        both = diff.tested and diff.rate_before and diff.rate_after
        if self.of_keys and both and seen is not None and not seen.shows(max(1 + self.min_change, DOUBLED)):
            return Judgement(_UNKNOWN, _UNKNOWN, (TOO_SHORT,))
        return _unchanged(diff, subject, context)

    @property
    def of_keys(self) -> bool:
        """Whether it finds changes of keys or families, alone or among others."""
        return self.kind is not SubjectKind.HOST and self.about is None

    def diff(self, context: EvalContext) -> Diff | None:
        """Return the comparison with the baseline that the test needs; None without a baseline."""
        of_fleet = self.about is ComparedKind.FLEET
        return context.diff(self.min_change, self.min_change if of_fleet else max(self.min_change, FLEET_CHANGE))

    def matches(self, change: Change) -> bool:
        """Return whether the test is about such a change."""
        return change.kind in self.kinds and self.about in (None, change.subject)

    def parts(self) -> Iterator[Test]:
        """Yield this test."""
        yield self


def _changed(found: Sequence[Change], min_change: float, diff: Diff) -> Judgement:
    """Return YES where the whole interval of a change lies beyond the threshold, and else OPEN with that interval."""
    if any(one.surely(1 + min_change) for one in found):
        return Judgement(Verdict.YES, Verdict.YES)
    one = found[0]
    low, high = one.fleet_min or 0.0, one.fleet_max
    interval = f"{low:.2f}x or more" if high is None else f"{low:.2f}x to {high:.2f}x"
    why = [f"the change is {interval} at 99 % confidence"]
    if (one.fleet_min, one.fleet_max) != (one.ratio_min, one.ratio_max):
        why.append(_apart(diff))
    return Judgement(Verdict.YES, Verdict.OPEN, tuple(why))


def _apart(diff: Diff) -> str:
    return f"{escape_text(fold([one.host for one in diff.excluded]))} cannot be compared with the baseline"


def _unchanged(diff: Diff, subject: Subject, context: EvalContext) -> Judgement:
    """Return NO where the comparison covers the subject, and UNKNOWN where it could not be compared."""
    if not diff.tested:
        return Judgement(_UNKNOWN, _UNKNOWN, ("nothing could be compared with the baseline",))
    before, after = context.evidence.baseline, context.evidence.stored
    names_differ = before is not None and after is not None and before.names_differ(after)
    if names_differ and subject.kind is not SubjectKind.HOST:
        return Judgement(_UNKNOWN, _UNKNOWN, ("names were replaced in another way in the baseline",))
    if subject.kind in (SubjectKind.KEY, SubjectKind.TEMPLATE) and not (diff.rate_before and diff.rate_after):
        when = "now" if diff.rate_before else "in the baseline"
        return Judgement(_UNKNOWN, _UNKNOWN, (f"no requests were counted {when}",))
    apart = [one.host for one in diff.excluded]
    if not apart or (subject.kind is SubjectKind.HOST and subject.name not in apart):
        return Judgement(Verdict.NO, Verdict.NO)
    why = (_apart(diff),)
    return Judgement(_UNKNOWN if subject.kind is SubjectKind.HOST else Verdict.NO, _UNKNOWN, why)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """`new key in top 10`: a key that was not in the top before, and neither bounds nor noise explain the change."""

    number: int
    min_change: float = MIN_CHANGE

    def judge(self, context: EvalContext, subject: Subject) -> Judgement:
        """Return whether the key is new or has risen, is in the top now, and was not before."""
        risen = self.changes.judge(context, subject)
        if risen.seen is not Verdict.YES:
            return risen
        return risen & self._now(context, subject) & self._not_before(context, subject)

    @property
    def changes(self) -> Changed:
        """Return the test of the change that it needs."""
        return Changed(SubjectKind.KEY, frozenset({ChangeKind.NEW, ChangeKind.RISEN}), self.min_change)

    def _now(self, context: EvalContext, subject: Subject) -> Judgement:
        return Comparison(FIELDS["key.place"], Unit.NUMBER, "<=", Limit(self.number)).judge(context, subject)

    def _not_before(self, context: EvalContext, subject: Subject) -> Judgement:
        beyond = context.was_beyond_top(subject.name, self.number) if isinstance(subject.name, Key) else None
        verdict = {True: Verdict.YES, False: Verdict.NO, None: Verdict.OPEN}[beyond]
        why = () if beyond is not None else (f"it may have been in the top {self.number} of the baseline",)
        return Judgement(verdict, verdict, why)

    def parts(self) -> Iterator[Test]:
        """Yield this test."""
        yield self


@dataclass(frozen=True, slots=True)
class All:
    """Tests joined by `and`."""

    tests: tuple[Test, ...]

    def judge(self, context: EvalContext, subject: Subject) -> Judgement:
        """Return whether all hold; stop at the first that is certain not to."""
        result = self.tests[0].judge(context, subject)
        for test in self.tests[1:]:
            if result.fleet is Verdict.NO:
                break
            result &= test.judge(context, subject)
        return result

    def parts(self) -> Iterator[Test]:
        """Yield the parts of all tests."""
        for test in self.tests:
            yield from test.parts()


@dataclass(frozen=True, slots=True)
class Any:
    """Tests joined by `or`."""

    tests: tuple[Test, ...]

    def judge(self, context: EvalContext, subject: Subject) -> Judgement:
        """Return whether any holds."""
        result = self.tests[0].judge(context, subject)
        for test in self.tests[1:]:
            result |= test.judge(context, subject)
        return result

    def parts(self) -> Iterator[Test]:
        """Yield the parts of all tests."""
        for test in self.tests:
            yield from test.parts()


@dataclass(frozen=True, slots=True)
class Not:
    """A test that must not hold."""

    test: Test

    def judge(self, context: EvalContext, subject: Subject) -> Judgement:
        """Return the opposite verdicts."""
        return ~self.test.judge(context, subject)

    def parts(self) -> Iterator[Test]:
        """Yield the parts of the test."""
        return self.test.parts()
