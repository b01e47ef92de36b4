"""Warn before a trace that the window of a play is too short for its rules about changes."""

from __future__ import annotations

from collections.abc import Iterator

from fleettrace.app.history import history_exists, likeness, open_history
from fleettrace.app.play.setup import PreparedPlay
from fleettrace.store.diff.compare import compare
from fleettrace.store.history.model import StoredRun

__all__ = ["window_warnings"]

_SHORT_S = 5.0
"""Windows below this are too short without an earlier run to learn from: between windows of three seconds of ordinary
bursty traffic, doubled keys were missed (tests/store/test_diff_visible.py)."""


def window_warnings(play: PreparedPlay) -> Iterator[str]:
    """Yield why the window is too short for rules of the play, by the traffic of the newest comparable run. Raises
    `ConfigError` for a history that cannot be read."""
    from fleettrace.playbook.rules.short_windows import shown, unseen_rules

    options, rules = play.options, play.play.rules
    if not any(rule.least_rise is not None for rule in rules):
        return
    newest = _newest(play)
    if newest is None:
        if options.duration < _SHORT_S:
            yield f"duration: {options.duration:g}s is too short to judge changes of keys: expected 10s or more"
        return
    seen = compare(newest, newest).visibility
    unseen = [] if seen is None or not all(seen.totals) else unseen_rules(rules, seen.rise_within(options.duration))
    if seen is not None and unseen:
        names = ", ".join(rule.name for rule in unseen)
        yield f"duration: {options.duration:g}s is too short for {names}: {shown(seen, options.duration)}"


def _newest(play: PreparedPlay) -> StoredRun | None:
    """Return the newest comparable run; None without one."""
    if not history_exists(play.options.store):
        return None
    alike = likeness(play.options)
    with open_history(play.options.store) as history:
        found = (run for run, other in history.earlier(alike.playbook) if other == alike)
        newest = next(found, None)
        return None if newest is None else history.load(newest)
