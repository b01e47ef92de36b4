"""Rules held against a run: what they find, how sure it is, and by which figures. Pure.

A finding is certain when the rule holds of the whole fleet, whatever was not seen. Else it is possible when it holds,
or may hold, of what was seen. What neither can be said of is gathered into one unknown finding for each rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from fleettrace.playbook.findings import Certainty, Figure, Finding, Findings, SubjectKind
from fleettrace.playbook.rules.condition import Changed, Comparison
from fleettrace.playbook.rules.eval_context import EvalContext, Evidence, Subject
from fleettrace.playbook.rules.fields import shown_value
from fleettrace.playbook.rules.language import Rule
from fleettrace.playbook.rules.values import Bounds, Judged, Verdict
from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.number_format import compact, percent
from fleettrace.store.diff.model import Change, ChangeKind
from fleettrace.summary.key import Key
from fleettrace.text_format import plural

__all__ = ["MOST_FOUND", "Evidence", "judge"]

MOST_FOUND = 100
"""Findings of one rule that are named; the rest is a number. A line that so many things cross is drawn badly."""

_CHANGES_NAMED = 5
"""Changes that a finding about the whole run names one by one."""

_NAMES = {SubjectKind.KEY: "key", SubjectKind.TEMPLATE: "family", SubjectKind.HOST: "host", SubjectKind.TOTALS: ""}


def judge(rules: Iterable[Rule], evidence: Evidence) -> Findings:
    """What `rules` find in `evidence`."""
    scene = EvalContext(evidence)
    return Findings.of(finding for rule in rules for finding in _found(rule, scene))


def _found(rule: Rule, scene: EvalContext) -> Iterator[Finding]:
    untold: dict[str, None] = {}
    found = 0
    for thing in scene.things(rule.subject, sorted(rule.min_changes)):
        judged = rule.test.judge(scene, thing)
        certainty = _certainty(judged)
        if certainty is Certainty.UNKNOWN:
            untold.update(dict.fromkeys(judged.why))
        elif certainty is not None and (found := found + 1) <= MOST_FOUND:
            yield _finding(rule, scene, thing, certainty, () if certainty is Certainty.CERTAIN else judged.why)
    untold.update(dict.fromkeys(_of_unlisted(rule, scene)))
    if found > MOST_FOUND:
        yield _summed_up(rule, f"{found - MOST_FOUND:,} more ({rule.name})", Certainty.POSSIBLE)
    if untold:
        why = tuple(untold)
        yield _summed_up(rule, f"not told for all ({rule.name}): {'; '.join(why)}", Certainty.UNKNOWN, why)


def _certainty(judged: Judged) -> Certainty | None:
    """None: it does not hold."""
    if judged.whole is Verdict.YES:
        return Certainty.CERTAIN
    if judged.whole is Verdict.NO:
        return None
    return Certainty.POSSIBLE if judged.seen in (Verdict.YES, Verdict.WITHIN) else Certainty.UNKNOWN


def _of_unlisted(rule: Rule, scene: EvalContext) -> Iterator[str]:
    """Whether the rule may hold of a key that is not in the report, where all that it asks for is a count."""
    tests = [*rule.test.parts()]
    fields = [one.field for one in tests if isinstance(one, Comparison) and one.field.kind is SubjectKind.KEY]
    if rule.needs_baseline or not fields or not all(one.of_counts for one in fields):
        return
    if not scene.unlisted_most and not scene.open_why:
        return
    judged = rule.test.judge(scene, Subject(SubjectKind.KEY))
    if judged.seen is Verdict.YES:
        return  # it holds of keys that nobody ever asked for, and is not meant so
    if judged.seen is Verdict.WITHIN:
        yield f"a key that is not listed may have had up to {scene.unlisted_most:,} requests"
    elif judged.whole in (Verdict.WITHIN, Verdict.UNTOLD):
        yield from scene.open_why or judged.why


def _finding(rule: Rule, scene: EvalContext, thing: Subject, certainty: Certainty, why: tuple[str, ...]) -> Finding:
    changes = list(_changes(rule, scene, thing))
    return Finding(
        rule=rule.name,
        severity=rule.severity,
        certainty=certainty,
        subject=rule.subject,
        name=thing.name,
        shown=thing.shown,
        message=_message(rule, scene, thing, changes, why),
        figures=(*_figures(rule, scene, thing), *(figure for one in changes[:1] for figure in _of_change(one))),
        why=why,
        event=scene.report.info.id if rule.needs_baseline else None,
        marks=_marks(changes) if rule.subject is SubjectKind.TOTALS else (),
    )


def _summed_up(rule: Rule, message: str, certainty: Certainty, why: tuple[str, ...] = ()) -> Finding:
    """One for many things."""
    return Finding(rule.name, rule.severity, certainty, rule.subject, None, "", message, why=why)


def _changes(rule: Rule, scene: EvalContext, thing: Subject) -> Iterator[Change]:
    """The changes of the thing that the rule asks for."""
    seen: set[int] = set()
    for test in rule.test.parts():
        min_changes = [getattr(test, "min_change", None)]
        kinds = test.kinds if isinstance(test, Changed) else frozenset({ChangeKind.NEW, ChangeKind.RISEN})
        for min_change in min_changes:
            diff = None if min_change is None else scene.diff(min_change)
            about = Subject(SubjectKind.TOTALS) if isinstance(test, Changed) and _of_run(test) else thing
            for change in scene.changes(diff, about) if diff is not None else ():
                if change.kind in kinds and id(change) not in seen:
                    seen.add(id(change))
                    yield change


def _of_run(test: Changed) -> bool:
    return test.kind is SubjectKind.TOTALS


def _message(rule: Rule, scene: EvalContext, thing: Subject, changes: list[Change], why: tuple[str, ...]) -> str:
    if rule.message is not None:
        return rule.message.filled(scene, thing)
    who = f"{_NAMES[rule.subject]} {thing.shown}: " if thing.name is not None else ""
    figures = [f"{one.field.rpartition('.')[2].replace('_', ' ')} {one.shown}" for one in _figures(rule, scene, thing)]
    if changes and rule.subject is SubjectKind.TOTALS:
        figures.append(_all_changes(changes))
    else:
        figures += [_change(one) for one in changes]
    doubt = f"; {'; '.join(why)}" if why else ""
    return f"{who}{', '.join(figures)} ({rule.name}){doubt}"


def _figures(rule: Rule, scene: EvalContext, thing: Subject) -> list[Figure]:
    figures = []
    for field in rule.fields:
        seen = field.units[field.unit](scene, thing).seen
        low, high = (seen.low, seen.high) if isinstance(seen, Bounds) else (None, None)
        figures.append(Figure(field.name, low, high, shown_value(seen, field.unit)))
    return figures


def _of_change(change: Change) -> list[Figure]:
    """Rates before and after, and what one is as a multiple of the other, in 99 of 100 cases."""
    before, after = change.before.rate, change.after.rate
    figures = [Figure("before.rate", before, before, f"{compact(before)}/s")] if before is not None else []
    figures += [Figure("after.rate", after, after, f"{compact(after)}/s")] if after is not None else []
    if change.ratio is not None:
        figures.append(Figure("ratio", change.ratio_min, change.ratio_max, f"{change.ratio:.2f}x"))
    return figures


def _change(change: Change) -> str:
    """A change in a few words."""
    if change.kind is ChangeKind.MOVED:
        return f"moved from {escape_text(change.host_before or '?')} to {escape_text(change.host_after or '?')}"
    rates = f"{compact(change.before.rate)}/s -> {compact(change.after.rate)}/s"
    if change.kind is ChangeKind.NEW:
        share = "" if change.after.share is None else f", {percent(change.after.share)} of all"
        return f"new at {compact(change.after.rate)}/s{share}"
    if change.kind is ChangeKind.GONE:
        return f"gone, {compact(change.before.rate)}/s before"
    return f"{change.kind}{'' if change.ratio is None else f' {change.ratio:.2f}x'}, {rates}"


def _all_changes(changes: list[Change]) -> str:
    named = "; ".join(
        f"{'family' if one.subject == 'template' else one.subject} {_name(one)} {_change(one)}"
        for one in changes[:_CHANGES_NAMED]
    )
    more = len(changes) - _CHANGES_NAMED
    return f"{plural(len(changes), 'change')}: {named}{f'; and {more:,} more' if more > 0 else ''}"


def _name(change: Change) -> str:
    return escape_key(change.name.data) if isinstance(change.name, Key) else escape_text(change.name)


def _marks(changes: list[Change]) -> tuple[str, ...]:
    """Tells other changes of the whole run apart, without their names."""
    if not changes:
        return ()
    names = sorted(f"{one.subject} {one.kind} {_name(one)}" for one in changes)
    return (sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest(),)
