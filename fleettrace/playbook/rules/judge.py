"""Judge rules on a run: the findings, how certain each is, and the numbers behind it. Pure.

A finding is certain when the rule holds for the whole fleet, whatever was not traced. It is possible when the rule
holds, or may hold, on the traced hosts. One unknown finding for each rule stands for the subjects it could not judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from fleettrace.playbook.findings import Certainty, Figure, Finding, Findings, Severity, SubjectKind
from fleettrace.playbook.rules.condition import NO_BASELINE, TOO_SHORT, Changed, Comparison, Newcomer
from fleettrace.playbook.rules.eval_context import EvalContext, Evidence, Subject
from fleettrace.playbook.rules.fields import shown_value
from fleettrace.playbook.rules.language import Rule
from fleettrace.playbook.rules.short_windows import too_short
from fleettrace.playbook.rules.values import Bounds, Judgement, Verdict
from fleettrace.report.escape import escape_key, escape_text
from fleettrace.report.host_remarks import eviction_remark
from fleettrace.report.model import HostRow
from fleettrace.report.number_format import compact, percent
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind
from fleettrace.summary.host_totals import host_totals
from fleettrace.summary.key import Key
from fleettrace.text_format import plural

__all__ = ["MAX_FINDINGS", "Evidence", "judge"]

MAX_FINDINGS = 100
"""Findings of one rule that are listed; a last finding counts the others. So many mean a threshold that is too low."""

_CHANGES_NAMED = 5
"""Changes that a finding about the whole run lists one by one."""

_PREFIXES = {ComparedKind.TEMPLATE: "family ", ComparedKind.FLEET: "", ComparedKind.COVERAGE: ""}
"""What the name of a change follows in a list of changes, where it is not the kind of subject."""

_NAMES = {SubjectKind.KEY: "key", SubjectKind.TEMPLATE: "family", SubjectKind.HOST: "host", SubjectKind.TOTALS: ""}


def judge(rules: Iterable[Rule], evidence: Evidence) -> Findings:
    """Return the findings of `rules` in `evidence`."""
    context = EvalContext(evidence)
    rules = tuple(rules)
    found = [finding for rule in rules for finding in _found(rule, context)]
    unjudged = [rule for rule in rules if rule.needs_baseline]
    if unjudged and (evidence.baseline is None or evidence.stored is None):
        found.append(_not_compared(unjudged, evidence.no_baseline))
    elif unjudged and context.totals.requests and (short := _short(unjudged, context)) is not None:
        found.append(short)
    return Findings.of(found)


def _short(rules: list[Rule], context: EvalContext) -> Finding | None:
    """Return the finding for rules that the windows were too short for."""
    diff = context.diff()
    seen = None if diff is None or not diff.tested or not diff.rate_before else diff.visibility
    return None if seen is None else too_short(rules, seen)


def _not_compared(rules: list[Rule], why: str) -> Finding:
    """Return the one finding for all rules that need a baseline when there is none."""
    severity = max((rule.severity for rule in rules), key=lambda one: one.level)
    message = f"no comparable run for {plural(len(rules), 'rule')} since baseline: {escape_text(why)}"
    reasons = (escape_text(why),)
    return Finding("since baseline", severity, Certainty.UNKNOWN, SubjectKind.TOTALS, None, "", message, why=reasons)


def _found(rule: Rule, context: EvalContext) -> Iterator[Finding]:
    unknown_reasons: dict[str, None] = {}
    found = 0
    for subject in context.subjects(rule.subject, sorted(rule.min_changes)):
        judged = rule.test.judge(context, subject)
        certainty = _certainty(judged)
        if certainty is Certainty.UNKNOWN:
            unknown_reasons.update(dict.fromkeys(judged.why))
        elif certainty is not None and (found := found + 1) <= MAX_FINDINGS:
            yield _finding(rule, context, subject, certainty, () if certainty is Certainty.CERTAIN else judged.why)
    unknown_reasons.update(dict.fromkeys(_of_unlisted(rule, context)))
    if rule.subject in (SubjectKind.KEY, SubjectKind.TEMPLATE) and not context.totals.requests:
        unknown_reasons["no request was traced"] = None
    if found > MAX_FINDINGS:
        yield _summed_up(rule, f"{found - MAX_FINDINGS:,} more ({rule.name})", Certainty.POSSIBLE)
    unknown_reasons.pop(NO_BASELINE, None)
    unknown_reasons.pop(TOO_SHORT, None)
    if unknown_reasons:
        why = tuple(unknown_reasons)
        yield _summed_up(rule, f"not known for all ({rule.name}): {'; '.join(why)}", Certainty.UNKNOWN, why)


def _certainty(judged: Judgement) -> Certainty | None:
    """Return how certain the rule is; None when it does not hold."""
    if judged.fleet is Verdict.YES:
        return Certainty.CERTAIN
    if judged.fleet is Verdict.NO:
        return None
    return Certainty.POSSIBLE if judged.seen in (Verdict.YES, Verdict.OPEN) else Certainty.UNKNOWN


def _of_unlisted(rule: Rule, context: EvalContext) -> Iterator[str]:
    """Yield why the rule may hold for a key outside the report, if it compares only counts."""
    tests = [*rule.test.parts()]
    fields = [one.field for one in tests if isinstance(one, Comparison) and one.field.kind is SubjectKind.KEY]
    if rule.needs_baseline or not fields or not all(one.of_counts for one in fields):
        return
    if not context.unlisted_max and not context.gaps:
        return
    judged = rule.test.judge(context, Subject(SubjectKind.KEY))
    if judged.seen is Verdict.YES:
        return  # A rule such as key.requests < 5 holds for every key that no client ever requested.
    if judged.seen is Verdict.OPEN:
        yield f"a key that is not listed may have had up to {context.unlisted_max:,} requests"
    elif judged.fleet in (Verdict.OPEN, Verdict.UNKNOWN):
        yield from context.gaps or judged.why


def _finding(rule: Rule, context: EvalContext, subject: Subject, certainty: Certainty, why: tuple[str, ...]) -> Finding:
    changes = list(_changes(rule, context, subject))
    return Finding(
        rule=rule.name,
        severity=_severity(rule, certainty),
        certainty=certainty,
        subject=rule.subject,
        name=subject.name,
        shown=subject.shown,
        message=_message(rule, context, subject, changes, why),
        figures=(*_figures(rule, context, subject), *(figure for one in changes[:1] for figure in _of_change(one))),
        why=why,
        event=context.report.info.id if rule.needs_baseline else None,
        marks=_marks(changes) if rule.subject is SubjectKind.TOTALS else (),
    )


def _severity(rule: Rule, certainty: Certainty) -> Severity:
    """Return the rule's severity; one less for a change that is only possible.

    A state keeps its rule's severity: it is part of the finding's id, and certainty can alternate between runs.
    """
    return rule.severity.milder if rule.needs_baseline and certainty is Certainty.POSSIBLE else rule.severity


def _summed_up(rule: Rule, message: str, certainty: Certainty, why: tuple[str, ...] = ()) -> Finding:
    """Return one finding for many subjects."""
    return Finding(rule.name, rule.severity, certainty, rule.subject, None, "", message, why=why)


def _changes(rule: Rule, context: EvalContext, subject: Subject) -> Iterator[Change]:
    """Yield the changes of `subject` that the rule tests."""
    seen: set[int] = set()
    for test in rule.test.parts():
        changed = test.changes if isinstance(test, Newcomer) else test
        if not isinstance(changed, Changed) or (diff := changed.diff(context)) is None:
            continue
        about = Subject(SubjectKind.TOTALS) if changed.kind is SubjectKind.TOTALS else subject
        for change in context.changes(diff, about):
            if changed.matches(change) and id(change) not in seen:
                seen.add(id(change))
                yield change


def _message(rule: Rule, context: EvalContext, subject: Subject, changes: list[Change], why: tuple[str, ...]) -> str:
    if rule.message is not None:
        return rule.message.filled(context, subject)
    if (remark := _remark(rule, subject)) is not None:
        return f"{remark} ({rule.name})"
    who = f"{_NAMES[rule.subject]} {subject.shown}: " if subject.name is not None else ""
    figures = [f"{_label(one.field)} {one.shown}" for one in _figures(rule, context, subject)]
    if changes and rule.subject is SubjectKind.TOTALS:
        figures.append(_all_changes(changes))
    else:
        figures += [_change(one) for one in changes]
    doubt = f"; {'; '.join(why)}" if why else ""
    return f"{who}{', '.join(figures)} ({rule.name}){doubt}"


def _remark(rule: Rule, subject: Subject) -> str | None:
    """Return the sentence for a rule about evictions alone, which names the class that evicts; else None."""
    row = subject.row
    if not isinstance(row, HostRow) or [one.name for one in rule.fields] != ["host.evictions"]:
        return None
    totals = host_totals(row.instances)
    return None if totals.evictions is None else eviction_remark(row, totals)


def _label(field: str) -> str:
    return field.rpartition(".")[2].replace("_", " ")


def _figures(rule: Rule, context: EvalContext, subject: Subject) -> list[Figure]:
    figures = []
    for field in rule.fields:
        seen = field.units[field.unit](context, subject).seen
        low, high = (seen.low, seen.high) if isinstance(seen, Bounds) else (None, None)
        figures.append(Figure(field.name, low, high, shown_value(seen, field.unit)))
    return figures


def _of_change(change: Change) -> list[Figure]:
    """Return the rates before and after, and their ratio with its bounds at 99 % confidence."""
    before, after = change.before.rate, change.after.rate
    figures = [Figure("before.rate", before, before, f"{compact(before)}/s")] if before is not None else []
    figures += [Figure("after.rate", after, after, f"{compact(after)}/s")] if after is not None else []
    if change.ratio is not None:
        figures.append(Figure("ratio", change.ratio_min, change.ratio_max, f"{change.ratio:.2f}x"))
    return figures


def _change(change: Change) -> str:
    """Return a short description of a change."""
    if change.kind is ChangeKind.MOVED:
        return f"moved from {escape_text(change.host_before or '?')} to {escape_text(change.host_after or '?')}"
    if change.subject is ComparedKind.COVERAGE:
        return f"{change.kind} from {percent(change.before.share)} to {percent(change.after.share)}"
    rates = f"{compact(change.before.rate)}/s -> {compact(change.after.rate)}/s"
    if change.selected:
        rate = change.before.rate if change.kind is ChangeKind.GONE else change.after.rate
        traffic = "without known traffic" if rate is None else f"with {compact(rate)}/s"
        renamed = f"; it may be {escape_text(change.renamed)} under another name" if change.renamed else ""
        return f"{change.selected} {traffic}{renamed}"
    if change.kind is ChangeKind.NEW:
        share = "" if change.after.share is None else f", {percent(change.after.share)} of all"
        return f"new at {compact(change.after.rate)}/s{share}"
    if change.kind is ChangeKind.GONE:
        return f"gone, {compact(change.before.rate)}/s before"
    return f"{change.kind}{'' if change.ratio is None else f' {change.ratio:.2f}x'}, {rates}"


def _all_changes(changes: list[Change]) -> str:
    named = "; ".join(
        f"{_PREFIXES.get(one.subject, f'{one.subject} ')}{_name(one)} {_change(one)}"
        for one in changes[:_CHANGES_NAMED]
    )
    more = len(changes) - _CHANGES_NAMED
    return f"{plural(len(changes), 'change')}: {named}{f'; and {more:,} more' if more > 0 else ''}"


def _name(change: Change) -> str:
    return escape_key(change.name.data) if isinstance(change.name, Key) else escape_text(change.name)


def _marks(changes: list[Change]) -> tuple[str, ...]:
    """Return a hash that identifies the changes of the whole run without disclosing names."""
    if not changes:
        return ()
    names = sorted(f"{one.subject} {one.kind} {_name(one)}" for one in changes)
    return (sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest(),)
