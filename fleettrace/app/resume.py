"""`--resume RUN`: sweep the hosts that failed in a saved run, and write both together as one run.

A resumed run keeps its id, so that the new results of its hosts replace the missing ones by the rules of `fleettrace
merge`: a host that was traced completely is neither traced nor counted again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fleettrace.app.failed_hosts import SUFFIX
from fleettrace.app.options import RunOptions
from fleettrace.app.output import check_writable
from fleettrace.app.sweep_session import Resumed, Write
from fleettrace.errors import ConfigError
from fleettrace.store.runfile.merge import merge, read_merged, save_merged
from fleettrace.store.runfile.reader import RunFile, read_run_file
from fleettrace.store.runfile.run_result import run_result, without_counts
from fleettrace.summary.run import RunInfo, RunResult

__all__ = ["resume"]


def resume(
    options: RunOptions,
    run: str,
    write: Write,
    patterns: Sequence[re.Pattern[bytes]],
    trace: Callable[[RunOptions, Resumed], RunResult],
) -> RunResult:
    """Complete the run file `run` by `trace`, and return the completed result. Raises `ConfigError`.

    `patterns` are the user's families of keys.
    """
    path, target = Path(run), Path(options.save or run)
    check_writable(str(target))
    file = read_run_file(path)
    info = _one_run(file)
    before = without_counts(merge([file]))
    completion = _Completion(path, target, write, options.top)
    failed = [host.host for host in before.incomplete_hosts]
    if not failed:
        return completion.write_all([path], patterns)
    # Pattern, name and window are the run's, not the command line's.
    own = replace(
        options,
        hosts=info.pattern,
        limit=",".join(failed) + ",",
        shard=None,
        name=options.name or info.pattern,
        duration=info.duration_s,
        save=str(completion.draft),
    )
    resumed = Resumed(replace(info, finished=None), [host.host for host in before.hosts], completion.write)
    try:
        result = trace(own, resumed)
    finally:
        completion.draft.unlink(missing_ok=True)
    return result if completion.result is None else replace(completion.result, stopped=result.stopped)


class _Completion:
    """Merges a run file with the results of a sweep, and reports both."""

    def __init__(self, path: Path, target: Path, write: Write, top: int) -> None:
        self._path = path
        self._target = target
        self._write = write
        self._top = top
        self.draft = target.with_name(f".{target.name}.{os.getpid()}.resumed")
        """Where the sweep saves its results."""
        self.result: RunResult | None = None

    def write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        """Write the completed run, or at least a report of the sweep where that fails. Raises `ConfigError`."""
        try:
            self.write_all([self._path, self.draft], patterns)
        except ConfigError:
            if self.result is None:
                self._write(result, patterns)
            raise

    def write_all(self, paths: Sequence[Path], patterns: Sequence[re.Pattern[bytes]]) -> RunResult:
        """Write what these files hold, which were redacted when they were written. Raises `ConfigError`."""
        merged = read_merged(paths)
        # Read first: saving may replace the file that is read.
        self.result = run_result(merged, top=self._top)
        failed: ConfigError | None = None
        try:
            if self._target != self._path or len(paths) > 1:
                save_merged(merged, self._target)
        except ConfigError as error:
            failed = error
        self._write(self.result, patterns)
        if failed is not None:
            raise failed
        return self.result


def _one_run(file: RunFile) -> RunInfo:
    if len(file.runs) != 1:
        raise ConfigError(
            f"it holds {len(file.runs)} runs, but only a single run can be resumed: sweep again with --limit "
            f"@{file.path}{SUFFIX}, and merge",
            file=file.path,
        )
    return file.runs[0]
