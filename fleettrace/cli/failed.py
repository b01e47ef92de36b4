"""`--limit @RUN/failed`: the hosts that a run did not trace to the end, to be swept again.

RUN is a run file (`--save`) or a JSON report.
"""

from __future__ import annotations

import json
from pathlib import Path

from fleettrace.errors import ConfigError, HostState
from fleettrace.inventory.pattern import split_pattern

__all__ = ["SUFFIX", "with_failed"]

SUFFIX = "/failed"
_COMPLETE = {state.value for state in HostState if state.complete}


def with_failed(limit: str | None) -> str | None:
    """The limit with the hosts' names in place of every `@RUN/failed`. Raises `ConfigError`."""
    if limit is None or SUFFIX not in limit:
        return limit
    parts: list[str] = []
    for part in split_pattern(limit):
        run = Path(part[1 : -len(SUFFIX)])
        parts += _failed(run) if part.startswith("@") and part.endswith(SUFFIX) and run.is_file() else [part]
    # The comma makes a pattern of a single name that has a colon in it, too.
    return ",".join(parts) + ","


def _failed(run: Path) -> list[str]:
    """The hosts that a run did not trace to the end. Raises `ConfigError`."""
    with run.open("rb") as file:
        kept = file.read(2) == b"\x1f\x8b"
    if kept:
        from fleettrace.store.runfile.merge import read_merged
        from fleettrace.store.runfile.run_result import without_counts

        failed = [host.host for host in without_counts(read_merged([run])).incomplete_hosts]
    else:
        failed = _failed_of_report(run)
    if not failed:
        raise ConfigError("no host failed in this run: there is nothing to sweep again", file=run)
    return failed


def _failed_of_report(report: Path) -> list[str]:
    try:
        document = json.loads(report.read_bytes())
        if not str(document["schema"]).startswith("fleettrace/report/"):
            raise ValueError
        return [str(host["host"]) for host in document["hosts"] if host["state"] not in _COMPLETE]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(
            "this is neither a run file nor a report: one is written by `fleettrace run --save FILE`, the other with "
            "--output json",
            file=report,
        ) from None
