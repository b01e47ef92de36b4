"""Many run files as one: which record of a host counts, and the merged file. Associative, commutative, idempotent.

What is merged are records: what one file says of one host in one run. The merged set is the union without the records
that another one makes superfluous, which is a strict partial order, so that neither the order of merging nor merging
again can matter. Records are copied byte by byte, and stand in the order of their names: the same set is the same file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleettrace.errors import ConfigError, HostState
from fleettrace.store.runfile.codec import run_document
from fleettrace.store.runfile.reader import HostRecord, RunFile, read_run_file
from fleettrace.store.runfile.writer import RunFileWriter
from fleettrace.summary.run import RunInfo, Warn

__all__ = ["Merged", "merge", "read_merged", "save_merged"]

_LEAST_TELLING = (HostState.SKIPPED, HostState.INTERRUPTED, HostState.TIMEOUT)
"""States that say nothing of the host itself, in the order in which others are preferred to them."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What several run files say together."""

    runs: dict[str, RunInfo] = field(default_factory=dict)
    """By id."""
    records: dict[tuple[str, str], list[HostRecord]] = field(default_factory=dict)
    """By run and host; more than one where each has instances that the others lack."""
    warnings: frozenset[Warn] = frozenset()

    @property
    def rows(self) -> int:
        """Rows of all instances: at least as many as there are keys."""
        return sum(
            counted.rows
            for records in self.records.values()
            for record in records
            for counted in record.counted.values()
        )


def read_merged(paths: Sequence[Path]) -> Merged:
    """Read and merge these files. Raises `ConfigError` for the first that is not whole."""
    return merge(read_run_file(path) for path in paths)


def merge(files: Iterable[RunFile]) -> Merged:
    """What these files say together."""
    runs: dict[str, RunInfo] = {}
    found: dict[tuple[str, str], list[HostRecord]] = {}
    warnings: set[Warn] = set()
    for file in files:
        for info in file.runs:
            known = runs.get(info.id)
            runs[info.id] = info if known is None else max(known, info, key=_finality)
        for record in file.hosts:
            found.setdefault((record.run, record.host), []).append(record)
        warnings.update(file.warnings)
    if not runs:
        raise ConfigError("none of the files describes a run: there is nothing to report")
    for run, host in found:
        if run not in runs:
            raise ConfigError(f"{host} is of the run {run}, which none of the files describes")
    records = {name: _needed(found[name]) for name in sorted(found)}
    return Merged(runs, records, frozenset(warnings))


def save_merged(merged: Merged, path: Path) -> None:
    """Write one file of them. Raises `ConfigError` when it cannot be written, or what is copied is damaged."""
    with RunFileWriter(path) as writer:
        for records in merged.records.values():
            for record in records:
                writer.copy(record.document, record.data())
        writer.finish(merged.runs.values(), merged.warnings)


def _finality(info: RunInfo) -> tuple[bool, Any, str]:
    """Of two descriptions of a run the one that ended later tells more; what else differs is decided somehow."""
    at = info.finished
    return at is not None, 0.0 if at is None else at.timestamp(), json.dumps(run_document(info), sort_keys=True)


def _needed(records: Sequence[HostRecord]) -> list[HostRecord]:
    """The records of one host in one run that no other makes superfluous."""
    if len(records) == 1:
        return list(records)
    records = list({record.digest: record for record in records}.values())
    needed = [one for one in records if not any(_says_all_of(other, one) for other in records if other is not one)]
    return sorted(needed, key=preference, reverse=True)


def _says_all_of(more: HostRecord, less: HostRecord) -> bool:
    """Whether `less` is superfluous beside `more`: the host was incomplete and no longer is; or everything that was
    counted then was counted again, and either more was, or it was done better."""
    complete, was_complete = more.result.complete, less.result.complete
    if complete != was_complete:
        return complete
    counted, were_counted = set(more.counted), set(less.counted)
    return were_counted < counted or (were_counted == counted and preference(more) > preference(less))


def preference(record: HostRecord) -> tuple[int, int, float, int, str]:
    """The larger, the rather it is believed: complete, telling, of a long window, with many requests."""
    result = record.result
    telling = _LEAST_TELLING.index(result.state) if result.state in _LEAST_TELLING else len(_LEAST_TELLING)
    window = sum(instance.window_s or 0.0 for instance in result.instances)
    return result.complete, telling, window, result.requests or 0, record.digest
