"""Merge run files: select the records of each host, and write the merged file. Associative, commutative, idempotent.

A record describes one host in one run, from one file. The merged set is the union of all records, without those that
another record supersedes. Superseding is a strict partial order, so neither the order of merging nor repeating it
matters. Records are copied byte by byte, in the order of their names: the same set gives the same file.
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

_INCONCLUSIVE = (HostState.SKIPPED, HostState.INTERRUPTED, HostState.TIMEOUT)
"""States that do not describe the host itself, the least preferred first."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Several run files, merged."""

    runs: dict[str, RunInfo] = field(default_factory=dict)
    """By id."""
    records: dict[tuple[str, str], list[HostRecord]] = field(default_factory=dict)
    """By run and host; several if each has instances that the others lack."""
    warnings: frozenset[Warn] = frozenset()

    @property
    def rows(self) -> int:
        """Rows of all instances: an upper bound of the number of keys."""
        return sum(
            counted.rows
            for records in self.records.values()
            for record in records
            for counted in record.counted.values()
        )


def read_merged(paths: Sequence[Path]) -> Merged:
    """Read and merge these files. Raises `ConfigError` for the first that is damaged."""
    return merge(read_run_file(path) for path in paths)


def merge(files: Iterable[RunFile]) -> Merged:
    """Merge these files. Raises `ConfigError` if no file describes the run of a host."""
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
        raise ConfigError("none of the files describes a run: nothing to report")
    for run, host in found:
        if run not in runs:
            raise ConfigError(f"{host} belongs to run {run}, which none of the files describes")
    records = {name: _not_superseded(found[name]) for name in sorted(found)}
    return Merged(runs, records, frozenset(warnings))


def save_merged(merged: Merged, path: Path) -> None:
    """Write them to one file. Raises `ConfigError` when it cannot be written, or a source file is damaged."""
    with RunFileWriter(path) as writer:
        for records in merged.records.values():
            for record in records:
                writer.copy(record.document, record.data())
        writer.finish(merged.runs.values(), merged.warnings)


def _finality(info: RunInfo) -> tuple[bool, Any, str]:
    """Return a sort key for descriptions of one run: the later end wins; the rest makes the order total."""
    at = info.finished
    return at is not None, 0.0 if at is None else at.timestamp(), json.dumps(run_document(info), sort_keys=True)


def _not_superseded(records: Sequence[HostRecord]) -> list[HostRecord]:
    """Return the records of one host in one run that no other supersedes."""
    if len(records) == 1:
        return list(records)
    records = list({record.digest: record for record in records}.values())
    remaining = [one for one in records if not any(_supersedes(other, one) for other in records if other is not one)]
    return sorted(remaining, key=preference, reverse=True)


def _supersedes(more: HostRecord, less: HostRecord) -> bool:
    """Return whether `more` supersedes `less`: only in `more` the host is complete; or `more` has all instances of
    `less`, and either further ones or a higher preference."""
    complete, was_complete = more.result.complete, less.result.complete
    if complete != was_complete:
        return complete
    counted, were_counted = set(more.counted), set(less.counted)
    return were_counted < counted or (were_counted == counted and preference(more) > preference(less))


def preference(record: HostRecord) -> tuple[int, int, float, int, str]:
    """Return a sort key, larger is better: complete, conclusive, a long window, many requests."""
    result = record.result
    conclusive = _INCONCLUSIVE.index(result.state) if result.state in _INCONCLUSIVE else len(_INCONCLUSIVE)
    window = sum(instance.window_s or 0.0 for instance in result.instances)
    return result.complete, conclusive, window, result.requests or 0, record.digest
