"""`--limit @FILE/failed`: the hosts that a run did not trace completely.

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
    """Return the limit with every `@FILE/failed` replaced by host names. Raises `ConfigError`."""
    if limit is None or SUFFIX not in limit:
        return limit
    parts: list[str] = []
    for part in split_pattern(limit):
        run = Path(part[1 : -len(SUFFIX)])
        parts += _failed(run) if part.startswith("@") and part.endswith(SUFFIX) and run.is_file() else [part]
    # The comma keeps a single name that has a colon in it from being split at the colon.
    return ",".join(parts) + ","


def _failed(run: Path) -> list[str]:
    """Return the hosts that a run did not trace completely. Raises `ConfigError`."""
    with run.open("rb") as file:
        is_run_file = file.read(2) == b"\x1f\x8b"
    if is_run_file:
        from fleettrace.store.runfile.merge import read_merged
        from fleettrace.store.runfile.run_result import without_counts

        failed = [host.host for host in without_counts(read_merged([run])).incomplete_hosts]
    else:
        failed = _failed_of_report(run)
    if not failed:
        raise ConfigError("no host failed in this run: nothing to sweep again", file=run)
    return failed


def _failed_of_report(report: Path) -> list[str]:
    try:
        document = json.loads(report.read_bytes())
        if not str(document["schema"]).startswith("fleettrace/report/"):
            raise ValueError
        return [str(host["host"]) for host in document["hosts"] if host["state"] not in _COMPLETE]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(
            "neither a run file nor a JSON report: name a file of `fleettrace run --save FILE` or of --output json",
            file=report,
        ) from None
