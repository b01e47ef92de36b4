"""Runs in the history: every run is stored, and found again by its id, the beginning of it, `last`, or a run file."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace.app.options import identity
from fleettrace.app.targets import inventory_name
from fleettrace.errors import ConfigError
from fleettrace.store.history.alike import Likeness, not_comparable
from fleettrace.store.history.database import History, default_path
from fleettrace.store.history.model import STORED_KEYS, StoredRun, StoredTemplate, stored_run
from fleettrace.summary.counts import add_timelines
from fleettrace.summary.run import RunResult

if TYPE_CHECKING:
    from fleettrace.app.options import RunOptions
    from fleettrace.app.redaction import Redaction
    from fleettrace.store.diff.baseline import Baseline

__all__ = [
    "find_baseline",
    "find_run",
    "history_exists",
    "history_record",
    "is_run_file",
    "likeness",
    "open_history",
    "read_run",
    "redaction_mark",
    "store_path",
    "store_run",
]

_MINED_KEYS = 100_000
"""Number of keys among which families are searched, as for a report."""

_FAMILIES = 200
"""Number of families stored of a run, those with the most requests."""


def store_run(
    options: RunOptions,
    run: RunResult,
    patterns: Sequence[re.Pattern[bytes]],
    redaction: Redaction,
    warn: Callable[[str], None],
    failed: Callable[[str], None] | None = None,
) -> None:
    """Add the run, which is redacted already, to the history, unless `--no-store` is given.

    `failed` receives why the history cannot be written, `warn` in its absence: for a run of its own, that costs neither
    the report nor the exit code.
    """
    if options.no_store:
        return
    try:
        with open_history(options.store, create=True) as history:
            if history.tightened:
                warn(f"{history.path}: other users could read the keys in the history; its mode is 0600 now")
            history.add(history_record(run, patterns, redaction, options), options.keep)
    except ConfigError as error:
        (failed or warn)(f"the run is not stored: {error}")


def history_record(
    run: RunResult, patterns: Sequence[re.Pattern[bytes]], redaction: Redaction, options: RunOptions
) -> StoredRun:
    """Return the run, which is redacted already, as the history stores it."""
    return stored_run(
        run,
        _templates(run, patterns),
        redaction=redaction_mark(redaction),
        playbook=options.playbook,
        playbook_file=options.playbook_file,
        inventory=_inventory(options),
    )


def _inventory(options: RunOptions) -> str:
    """Return the identity of the inventory; empty for a run that a Python program made without one."""
    try:
        return inventory_name(options)
    except ConfigError:
        return ""


def likeness(options: RunOptions) -> Likeness:
    """Return what decides with which stored runs a run with these options can be compared."""
    return Likeness(options.playbook, options.playbook_file, _inventory(options), options.hosts, identity(options))


def store_path(store: str | None) -> Path:
    """Return the path of the history: that of `--store`, or the default one."""
    return default_path() if store is None else Path(store)


def history_exists(store: str | None) -> bool:
    """Return whether there is a history. Raises `ConfigError` where this user cannot find out."""
    path = store_path(store)
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"cannot open the history: {error.strerror}", file=path) from None


def open_history(store: str | None, *, create: bool = False) -> History:
    """Open the history of `--store`, or the default one. Raises `ConfigError`."""
    return History.open(store_path(store), create=create)


def find_baseline(history: History, run: StoredRun) -> tuple[Baseline | None, str]:
    """Return for each host of `run` the newest comparable run that traced it; None without one, and why."""
    from fleettrace.store.diff.baseline import choose

    earlier = history.earlier(run.playbook, run.info.id)
    comparable = [name for name, likeness in earlier if likeness == run.likeness]
    if not comparable:
        return None, not_comparable(run.likeness, earlier)
    return choose(run, comparable, history.load, history.traced), ""


def is_run_file(name: str) -> bool:
    """Whether RUN names a run file: such a file exists, or the name has a slash. `last` is never one."""
    return re.fullmatch(r"last(~[0-9]+)?", name) is None and ("/" in name or Path(name).is_file())


def read_run(name: str, top: int) -> RunResult:
    """Return the run of a run file, with exact counts of its `top` hottest keys. Raises `ConfigError`."""
    from fleettrace.store.runfile.merge import read_merged
    from fleettrace.store.runfile.run_result import run_result

    return run_result(read_merged([Path(name)]), top=top)


def find_run(store: str | None, name: str) -> StoredRun:
    """Return the run that RUN names, from the history or from a run file. Raises `ConfigError`."""
    if is_run_file(name):
        run = read_run(name, STORED_KEYS)
        return stored_run(run, _templates(run, ()))
    with open_history(store) as history:
        return history.load(history.find(name))


def redaction_mark(redaction: Redaction) -> str:
    """Return a mark that differs between redactions and between secrets, and does not reveal the secret."""
    if redaction.how is None or not redaction.secret:
        return redaction.how or ""
    return f"{redaction.how}:{hmac.digest(redaction.secret, b'fleettrace history', 'sha256').hex()[:8]}"


def _templates(run: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> list[StoredTemplate]:
    """Return the families of the run's keys with their timelines, those with the most requests first."""
    from fleettrace.report.templates import Templates

    listed = ((key, known.count) for key, known in run.fleet.keys.items() if not key.truncated)
    counted = ((count.requests, key.data, count) for key, count in listed if count is not None)
    hottest = nlargest(_MINED_KEYS, counted, key=lambda item: item[:2])
    families = Templates.learn({data: requests for requests, data, _ in hottest}, patterns, max_templates=_FAMILIES)
    first: dict[str | None, int] = {}
    timelines: dict[str | None, list[int]] = {}
    for requests, data, count in hottest:
        family = families.of(data)
        first.setdefault(family, requests)
        add_timelines(timelines.setdefault(family, []), count.timeline)
    return [
        StoredTemplate(each.pattern, each.requests, each.keys, first.get(each.pattern), tuple(timelines[each.pattern]))
        for each in families.ranked
    ]
