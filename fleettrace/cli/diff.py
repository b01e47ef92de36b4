"""`fleettrace diff`: what changed from one run to another, as far as bounds and noise let it be told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from fleettrace.cli.columns import columns
from fleettrace.cli.keeping import kept_run, open_history
from fleettrace.cli.output import write_file_or_stdout
from fleettrace.report.escape import escape_key, escape_text, shorten
from fleettrace.report.host_folding import fold
from fleettrace.report.number_format import compact, minute, percent
from fleettrace.store.diff.compare import compare
from fleettrace.store.diff.model import Change, ChangeKind, ComparedKind, Diff
from fleettrace.store.history.model import StoredRun
from fleettrace.summary.key import Key
from fleettrace.text_format import plural

__all__ = ["command", "lines_of"]

_NAME_CELLS = 60
_TITLES = {ComparedKind.KEY: "keys", ComparedKind.TEMPLATE: "families", ComparedKind.HOST: "hosts"}


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code: 1 for changes where that is asked for, 4 where nothing could be compared."""
    before, after = _runs(arguments)
    diff = compare(before, after, min_change=arguments.min_change)
    if arguments.output == "json":
        from fleettrace.cli.diff_json import diff_document

        lines = [json.dumps(diff_document(diff))]
    else:
        lines = lines_of(diff, arguments.top)
    write_file_or_stdout(None, "".join(f"{line}\n" for line in lines))
    if not diff.tested and not diff.changes:
        return 4
    return 1 if diff.changes and arguments.exit_code else 0


def _runs(arguments: argparse.Namespace) -> tuple[StoredRun, StoredRun]:
    """The two runs to compare. Raises `ConfigError`."""
    if arguments.before is not None:
        return kept_run(arguments, arguments.before), kept_run(arguments, arguments.after)
    with open_history(arguments) as history:
        after = history.load(history.find(arguments.after))
        return history.load(history.previous_alike(after)), after


def lines_of(diff: Diff, top: int) -> list[str]:
    """The comparison for people, up to `top` changes of each kind of thing: one line when there is nothing to say."""
    if not diff.changes:
        return [f"{_nothing(diff)}{_apart(diff, '; ')}"]
    lines = [f"{_run(diff, 0)} -> {_run(diff, 1)}: {_compared(diff)}{_apart(diff, '; ')}"]
    lines += [f"note: {escape_text(note)}" for note in diff.notes]
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
    notes = "".join(f"; {escape_text(note)}" for note in diff.notes)
    return f"no change between {between} beyond bounds and noise: {_compared(diff)}{notes}"


def _why_nothing(diff: Diff) -> str:
    return "no host was traced wholly in both" if not diff.hosts else "no requests, or no names, in either"


def _run(diff: Diff, place: int) -> str:
    info = (diff.before, diff.after)[place]
    return f"{escape_text(info.id)} ({minute(info.started)}, {info.duration_s:g} s)"


def _compared(diff: Diff) -> str:
    rates = f"{compact(diff.rate_before)}/s -> {compact(diff.rate_after)}/s"
    hosts = f"{plural(len(diff.hosts), 'host')}, " if diff.hosts else ""
    return f"{hosts}{rates}, {diff.tested:,} things looked at"


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
