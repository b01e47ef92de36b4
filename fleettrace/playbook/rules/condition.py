"""What a rule consists of: tests of fields and of changes, joined by and, or and not. Values, compiled once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from fleettrace.playbook.findings import SubjectKind
from fleettrace.playbook.rules.eval_context import EvalContext, Subject
from fleettrace.playbook.rules.fields import FIELDS, Field, shown_value
from fleettrace.playbook.rules.measurements import Unit
from fleettrace.playbook.rules.values import Bounds, Judged, Measurement, Verdict, matches, measured
from fleettrace.report.escape import escape_text
from fleettrace.report.host_folding import fold
from fleettrace.store.diff.compare import MIN_CHANGE
from fleettrace.store.diff.model import ChangeKind, Diff
from fleettrace.summary.key import Key

__all__ = ["All", "Any", "Changed", "Comparison", "Limit", "Newcomer", "Not", "Test"]

NO_BASELINE = "there is no earlier run to compare with"
_UNTOLD = Verdict.UNTOLD


class Test(Protocol):
    """One part of a rule."""

    def judge(self, scene: EvalContext, thing: Subject) -> Judged:
        """Whether it holds of the thing."""
        ...

    def parts(self) -> Iterator[Test]:
        """The tests that it is made of; itself when it is one."""
        ...


@dataclass(frozen=True, slots=True)
class Limit:
    """What a field is held against: a number, or so many times the mean of all hosts."""

    number: float
    of_mean: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """`key.share > 5%`, `host.rate > 2 x mean`, `key.spread == everywhere`, `key.certified`."""

    field: Field
    unit: Unit
    operator: str
    limit: Limit | str

    def judge(self, scene: EvalContext, thing: Subject) -> Judged:
        """Whether the field is so, of what was seen and of the whole."""
        reading = self.field.units[self.unit](scene, thing)
        seen, whole = self._against(scene, reading)
        return Judged(seen, whole, self._why(scene, reading, seen, whole))

    def _against(self, scene: EvalContext, reading: Measurement) -> tuple[Verdict, Verdict]:
        if isinstance(self.limit, str):
            word = self.limit
            return matches(reading.seen, self.operator, word), matches(reading.whole, self.operator, word)
        limits = self._limits(scene, self.limit)
        return measured(reading.seen, self.operator, limits[0]), measured(reading.whole, self.operator, limits[1])

    def _limits(self, scene: EvalContext, limit: Limit) -> tuple[Bounds | None, Bounds | None]:
        if not limit.of_mean:
            exact = Bounds(limit.number, limit.number)
            return exact, exact
        seen, whole = scene.mean(self.field.units[self.unit])
        return _times(seen, limit.number), _times(whole, limit.number)

    def _why(self, scene: EvalContext, reading: Measurement, seen: Verdict, whole: Verdict) -> tuple[str, ...]:
        if seen is _UNTOLD:
            return (f"{self.field.name} is not known",)
        if seen is Verdict.WITHIN:
            return (f"{self.field.name} is {shown_value(reading.seen, self.unit)}",)
        if whole is seen:
            return ()
        return scene.open_why or (f"{self.field.name} is not known exactly",)

    def parts(self) -> Iterator[Test]:
        """Itself."""
        yield self


def _times(mean: Bounds | None, number: float) -> Bounds | None:
    return None if mean is None else Bounds(mean.low * number, mean.high * number if number else 0.0)


@dataclass(frozen=True, slots=True)
class Changed:
    """`changed since baseline`, `key risen 2 x since baseline`: what neither bounds nor noise explain."""

    kind: SubjectKind
    """`TOTALS`: anything at all."""
    kinds: frozenset[ChangeKind]
    min_change: float = MIN_CHANGE

    def judge(self, scene: EvalContext, thing: Subject) -> Judged:
        """Whether the comparison with the baseline says so."""
        diff = scene.diff(self.min_change)
        if diff is None:
            return Judged(_UNTOLD, _UNTOLD, (NO_BASELINE,))
        if any(one.kind in self.kinds for one in scene.changes(diff, thing)):
            return Judged(Verdict.YES, Verdict.YES)
        return _not_seen(diff, thing, scene)

    def parts(self) -> Iterator[Test]:
        """Itself."""
        yield self


def _not_seen(diff: Diff, thing: Subject, scene: EvalContext) -> Judged:
    """No change was found; that says nothing of what could not be compared."""
    if not diff.tested:
        return Judged(_UNTOLD, _UNTOLD, ("nothing could be compared with the baseline",))
    before, after = scene.evidence.baseline, scene.evidence.kept
    names_differ = before is not None and after is not None and before.redaction != after.redaction
    if names_differ and thing.kind is not SubjectKind.HOST:
        return Judged(_UNTOLD, _UNTOLD, ("names were replaced in another way in the baseline",))
    apart = [one.host for one in diff.excluded]
    if not apart or (thing.kind is SubjectKind.HOST and thing.name not in apart):
        return Judged(Verdict.NO, Verdict.NO)
    why = (f"{escape_text(fold(apart))} cannot be compared with the baseline",)
    return Judged(_UNTOLD if thing.kind is SubjectKind.HOST else Verdict.NO, _UNTOLD, why)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """`new key in top 10`: among the hottest now, not before, and neither bounds nor noise explain it."""

    number: int
    min_change: float = MIN_CHANGE

    def judge(self, scene: EvalContext, thing: Subject) -> Judged:
        """It has risen or is new, it is in the top now, and it was not before."""
        risen = Changed(SubjectKind.KEY, frozenset({ChangeKind.NEW, ChangeKind.RISEN}), self.min_change).judge(
            scene, thing
        )
        if risen.seen is not Verdict.YES:
            return risen
        return risen & self._now(scene, thing) & self._not_before(scene, thing)

    def _now(self, scene: EvalContext, thing: Subject) -> Judged:
        return Comparison(FIELDS["key.place"], Unit.NUMBER, "<=", Limit(self.number)).judge(scene, thing)

    def _not_before(self, scene: EvalContext, thing: Subject) -> Judged:
        beyond = scene.surely_beyond(thing.name, self.number) if isinstance(thing.name, Key) else None
        verdict = {True: Verdict.YES, False: Verdict.NO, None: Verdict.WITHIN}[beyond]
        why = () if beyond is not None else (f"it may have been in the top {self.number} of the baseline",)
        return Judged(verdict, verdict, why)

    def parts(self) -> Iterator[Test]:
        """Itself."""
        yield self


@dataclass(frozen=True, slots=True)
class All:
    """Tests joined by `and`."""

    tests: tuple[Test, ...]

    def judge(self, scene: EvalContext, thing: Subject) -> Judged:
        """Whether all hold. Those behind one that surely does not are not asked."""
        whole = self.tests[0].judge(scene, thing)
        for test in self.tests[1:]:
            if whole.whole is Verdict.NO:
                break
            whole &= test.judge(scene, thing)
        return whole

    def parts(self) -> Iterator[Test]:
        """The parts of all."""
        for test in self.tests:
            yield from test.parts()


@dataclass(frozen=True, slots=True)
class Any:
    """Tests joined by `or`."""

    tests: tuple[Test, ...]

    def judge(self, scene: EvalContext, thing: Subject) -> Judged:
        """Whether any holds."""
        whole = self.tests[0].judge(scene, thing)
        for test in self.tests[1:]:
            whole |= test.judge(scene, thing)
        return whole

    def parts(self) -> Iterator[Test]:
        """The parts of all."""
        for test in self.tests:
            yield from test.parts()


@dataclass(frozen=True, slots=True)
class Not:
    """A test that must not hold."""

    test: Test

    def judge(self, scene: EvalContext, thing: Subject) -> Judged:
        """Whether it does not hold."""
        return ~self.test.judge(scene, thing)

    def parts(self) -> Iterator[Test]:
        """The parts of the test."""
        return self.test.parts()
