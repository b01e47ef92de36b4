"""Runs go into the history by themselves, and come back by a name: an id, its beginning, `last`, or a run file."""

from __future__ import annotations

import argparse
import hmac
import re
import sys
from collections.abc import Sequence
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace.errors import ConfigError
from fleettrace.store.history.database import History, default_path
from fleettrace.store.history.model import STORED_KEYS, StoredRun, StoredTemplate, stored_run
from fleettrace.summary.counts import add_timelines
from fleettrace.summary.run import RunResult

if TYPE_CHECKING:
    from fleettrace.cli.redaction import Redaction

__all__ = ["as_kept", "keep_run", "kept_run", "names_a_file", "open_history", "read_run", "redaction_mark"]

_MINED_KEYS = 100_000
"""Keys that families are looked for among, as for a report."""

_FAMILIES = 200
"""Families kept of a run, those with the most requests."""


def keep_run(
    arguments: argparse.Namespace, run: RunResult, patterns: Sequence[re.Pattern[bytes]], redaction: Redaction
) -> None:
    """Keep the run, whose names are redacted already, unless `--no-store` is given. A history that cannot be written
    is a warning: it costs neither the report nor the exit code."""
    if getattr(arguments, "no_store", True):
        return
    try:
        kept = as_kept(run, patterns, redaction, getattr(arguments, "playbook", None) or "")
        with open_history(arguments, create=True) as history:
            if history.tightened:
                print(
                    f"fleettrace: {history.path}: other users could read the history, which has keys in it; it is its "
                    "owner's alone now (0600)",
                    file=sys.stderr,
                )
            history.add(kept, arguments.keep)
    except ConfigError as error:
        print(f"fleettrace: the run is not kept: {error}", file=sys.stderr)


def as_kept(
    run: RunResult, patterns: Sequence[re.Pattern[bytes]], redaction: Redaction, playbook: str = ""
) -> StoredRun:
    """The run, whose names are redacted already, as the history keeps it."""
    return stored_run(run, _templates(run, patterns), redaction=redaction_mark(redaction), playbook=playbook)


def open_history(arguments: argparse.Namespace, *, create: bool = False) -> History:
    """The history that the options name. Raises `ConfigError`."""
    return History.open(default_path() if arguments.store is None else Path(arguments.store), create=create)


def names_a_file(name: str) -> bool:
    """Whether RUN is a run file: there is such a file, or it could be nothing else. `last` is never one."""
    return re.fullmatch(r"last(~[0-9]+)?", name) is None and ("/" in name or Path(name).is_file())


def read_run(name: str, top: int) -> RunResult:
    """The run of a run file, with its `top` hottest keys exactly. Raises `ConfigError`."""
    from fleettrace.store.runfile.merge import read_merged
    from fleettrace.store.runfile.run_result import run_result

    return run_result(read_merged([Path(name)]), top=top)


def kept_run(arguments: argparse.Namespace, name: str) -> StoredRun:
    """The run that RUN names, from the history or from a run file. Raises `ConfigError`."""
    if names_a_file(name):
        run = read_run(name, STORED_KEYS)
        return stored_run(run, _templates(run, ()))
    with open_history(arguments) as history:
        return history.load(history.find(name))


def redaction_mark(redaction: Redaction) -> str:
    """Tells apart the ways in which names are replaced, and the secrets; says nothing of the secret itself."""
    if redaction.how is None or not redaction.secret:
        return redaction.how or ""
    return f"{redaction.how}:{hmac.digest(redaction.secret, b'fleettrace history', 'sha256').hex()[:8]}"


def _templates(run: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> list[StoredTemplate]:
    """The families of the run's keys with their timelines, those with the most requests first."""
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
