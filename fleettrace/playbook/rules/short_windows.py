"""Windows that are too short to judge rules about changes of keys. Pure.

A comparison that could not have shown a change does not prove that none happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fleettrace.playbook.findings import Certainty, Finding, SubjectKind
from fleettrace.playbook.rules.language import Rule
from fleettrace.report.number_format import percent
from fleettrace.store.diff.visible import DOUBLED, PLAIN_PART, Visibility
from fleettrace.text_format import plural

__all__ = ["shown", "too_short", "unseen_rules"]


def unseen_rules(rules: Iterable[Rule], rise: float | None) -> list[Rule]:
    """Return the rules about changes of keys that need a smaller rise than the smallest visible one.

    A rule with a small multiple can be judged well enough where a doubling is visible.
    """
    needed = ((rule, rule.least_rise) for rule in rules)
    return [rule for rule, least in needed if least is not None and (rise is None or rise > max(least, DOUBLED))]


def too_short(rules: Sequence[Rule], visibility: Visibility) -> Finding | None:
    """Return the one finding for all rules that the windows were too short for; None without such a rule."""
    unseen = unseen_rules(rules, visibility.rise)
    if not unseen:
        return None
    severity = max((rule.severity for rule in unseen), key=lambda one: one.level)
    message = f"the windows are too short for {plural(len(unseen), 'rule')} since baseline: {shown(visibility)}"
    return Finding("since baseline", severity, Certainty.UNKNOWN, SubjectKind.TOTALS, None, "", message, why=(message,))


def shown(visibility: Visibility, seconds: float | None = None) -> str:
    """Return the smallest visible rise in words, in windows of so many seconds, and a window that shows a doubling."""
    rise = visibility.rise if seconds is None else visibility.rise_within(seconds)
    hidden = "every rise" if rise is None else f"a rise to less than {rise:.1f}x"
    needed = visibility.window_for(DOUBLED)
    cure = "a doubling needs more traffic" if needed is None else f"duration: {needed:g}s would show a doubling"
    return f"{hidden} of a key with {percent(PLAIN_PART)} of all requests is hidden by noise; {cure}"
