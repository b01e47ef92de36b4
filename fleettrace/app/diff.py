"""`fleettrace diff`: compare two runs, with regard to bounds and noise."""

from __future__ import annotations

from collections.abc import Iterator

from fleettrace.app.history import find_baseline, find_run, open_history
from fleettrace.errors import ConfigError
from fleettrace.report.columns import columns
from fleettrace.report.escape import escape_key, escape_text, shorten
from fleettrace.report.host_folding import fold
from fleettrace.report.number_format import compact, minute, percent
from fleettrace.store.diff.compare import FLEET_CHANGE, MIN_CHANGE, compare
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Diff
from fleettrace.store.diff.visible import PLAIN_PART
from fleettrace.summary.key import Key
from fleettrace.text_format import plural

__all__ = ["compare_runs", "diff_lines"]

_NAME_CELLS = 60
_LEVEL_SHOWN = 0.02
_TITLES = {
    ComparedKind.FLEET: "fleet",
    ComparedKind.COVERAGE: "coverage",
    ComparedKind.KEY: "keys",
    ComparedKind.TEMPLATE: "families",
    ComparedKind.HOST: "hosts",
}


def compare_runs(store: str | None, before: str | None, after: str, min_change: float) -> Diff:
    """Compare two runs of the history or of run files; without `before`, with the newest run of the same pattern and
    options. `min_change` is relative; another one than the default holds for the total rate too. Raises
    `ConfigError`."""
    least = min_change, FLEET_CHANGE if min_change == MIN_CHANGE else min_change
    if before is not None:
        return compare(find_run(store, before), find_run(store, after), min_change=least[0], fleet_change=least[1])
    with open_history(store) as history:
        newer = history.load(history.find(after))
        baseline, why = find_baseline(history, newer)
        if baseline is None:
            raise ConfigError(
                f"no run before {newer.info.id} is comparable: {why}; name both runs (see `fleettrace history`)",
                file=history.path,
            )
        return compare(baseline, newer, min_change=least[0], fleet_change=least[1])


def diff_lines(diff: Diff, top: int) -> list[str]:
    """Return the comparison for people, up to `top` changes of each kind; a single line when nothing changed."""
    if not diff.changes:
        return [f"{_nothing(diff)}{_apart(diff, '; ')}"]
    lines = [f"{_run(diff, 0)} -> {_run(diff, 1)}: {_compared(diff)}{_apart(diff, '; ')}"]
    lines += [f"note: {note}" for note in _notes(diff)]
    for subject, title in _TITLES.items():
        changes = diff.of(subject)
        if changes:
            lines += ["", title, *_table(changes[:top])]
        if len(changes) > top:
            lines.append(f"  and {len(changes) - top:,} more: --top {len(changes)} shows them")
    return lines


def _nothing(diff: Diff) -> str:
    between = f"{escape_text(diff.before.id)} and {escape_text(diff.after.id)}"
    if not diff.tested:
        return f"nothing to compare between {between}: {_why_nothing(diff)}"
    notes = "".join(f"; {note}" for note in _notes(diff))
    return f"no change between {between} beyond bounds and noise{_visible(diff)}: {_compared(diff)}{notes}"


def _visible(diff: Diff) -> str:
    """Return what the comparison could have shown, where that is not every change of the size that was asked for."""
    seen = diff.visibility
    if seen is None or seen.shows(seen.least_ratio):
        return ""
    if seen.rise is None:
        return f" (windows too short or too few requests to show any change of a key with {percent(PLAIN_PART)} of all)"
    return f" (of a key with {percent(PLAIN_PART)} of all requests, none above {seen.rise:.1f}x)"


def _notes(diff: Diff) -> Iterator[str]:
    yield from map(escape_text, diff.notes)
    for each in diff.older:
        yield (
            f"{escape_text(fold(each.hosts))} compared with {escape_text(each.run)}, the newest run that traced them "
            f"completely{_leveled(each.level)}"
        )


def _leveled(level: float) -> str:
    if abs(level - 1) < _LEVEL_SHOWN:
        return ""
    return f", with its rates times {level:.2f}: as much had the other hosts risen or fallen since then"


def _why_nothing(diff: Diff) -> str:
    return "no host was traced completely in both runs" if not diff.hosts else "no requests, or no keys, in either run"


def _run(diff: Diff, place: int) -> str:
    info = (diff.before, diff.after)[place]
    return f"{escape_text(info.id)} ({minute(info.started)}, {info.duration_s:g} s)"


def _compared(diff: Diff) -> str:
    rates = f"{compact(diff.rate_before)}/s -> {compact(diff.rate_after)}/s"
    hosts = f"{plural(len(diff.hosts), 'host')}, " if diff.hosts else ""
    return f"{hosts}{rates}, {diff.tested:,} items compared"


def _apart(diff: Diff, before: str) -> str:
    reasons: dict[str, list[str]] = {}
    for each in diff.excluded:
        reasons.setdefault(each.why, []).append(each.host)
    folded = ", ".join(f"{escape_text(fold(hosts))} ({escape_text(why)})" for why, hosts in reasons.items())
    return f"{before}not compared: {folded}" if folded else ""


def _table(changes: tuple[Change, ...]) -> Iterator[str]:
    rows = [_row(change) for change in changes]
    yield from (f"  {line}" for line in columns(rows, right=(2, 4, 5)))


def _row(change: Change) -> list[str]:
    name = escape_key(change.name.data) if isinstance(change.name, Key) else escape_text(change.name)
    before, after = change.before, change.after
    where = ""
    if change.kind is ChangeKind.MOVED:
        where = f"{escape_text(change.host_before or '-')} -> {escape_text(change.host_after or '-')}"
    elif change.selected:
        where = change.selected + (f"; it may be {escape_text(change.renamed)}" if change.renamed else "")
    return [
        change.kind.value,
        shorten(name, _NAME_CELLS),
        _rate(before.rate, before.requests_max, change.kind is ChangeKind.NEW),
        "->",
        _rate(after.rate, after.requests_max, change.kind is ChangeKind.GONE),
        "" if change.ratio is None else f"{change.ratio:.2f}x",
        _between(change),
        f"share {percent(before.share, 2)} -> {percent(after.share, 2)}",
        where,
    ]


def _rate(rate: float | None, most: int, unseen: bool) -> str:
    """A rate; of what was not seen, how much it can have had all the same."""
    if unseen:
        return f"at most {most:,} in all" if most else "0/s"
    return "-" if rate is None else f"{compact(rate)}/s"


def _between(change: Change) -> str:
    if change.ratio is None:
        return ""
    low = "0" if change.ratio_min is None else f"{change.ratio_min:.2f}"
    return f"({low} or more)" if change.ratio_max is None else f"({low} to {change.ratio_max:.2f})"
