"""`--resume RUN`: sweep what failed in a run that was saved, and put both together into one.

A resumed run keeps its id, so that what its hosts say now takes the place of what was missing, by the rules of
`fleettrace merge`: a host that was traced to the end is neither traced nor counted again.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fleettrace.cli.exit_code import exit_code
from fleettrace.cli.failed import SUFFIX
from fleettrace.cli.output import ReportWriter, check_writable
from fleettrace.cli.run import Resumed
from fleettrace.errors import ConfigError
from fleettrace.store.runfile.merge import merge, read_merged, save_merged
from fleettrace.store.runfile.reader import RunFile, read_run_file
from fleettrace.store.runfile.run_result import run_result, without_counts
from fleettrace.summary.run import RunInfo, RunResult

__all__ = ["resume"]

_STOPPED = (5, 130, 143)
"""Exit codes that say how the sweep ended, whatever became of the hosts."""


def resume(
    arguments: argparse.Namespace,
    wanted: ReportWriter,
    patterns: Sequence[re.Pattern[bytes]],
    trace: Callable[[Resumed], int],
) -> int:
    """Complete the run with `trace`, which sweeps as `arguments` say; gives the exit code of the whole. `patterns` are
    families of the user's own. Raises `ConfigError`."""
    path, target = Path(arguments.resume), Path(arguments.save or arguments.resume)
    check_writable(str(target))
    file = read_run_file(path)
    info = _one_run(file)
    before = without_counts(merge([file]))
    completing = _Completing(path, target, wanted, arguments.top)
    failed = [host.host for host in before.incomplete_hosts]
    if not failed:
        completing.write_whole([path], patterns)
        return completing.code(arguments.min_ok)
    # What is selected and how long it is traced are the run's, not the command line's.
    arguments.hosts, arguments.limit, arguments.shard = info.pattern, ",".join(failed) + ",", None
    arguments.name = arguments.name or info.pattern
    arguments.duration, arguments.save = info.duration_s, str(completing.draft)
    try:
        code = trace(Resumed(replace(info, finished=None), [host.host for host in before.hosts], completing.write))
    finally:
        completing.draft.unlink(missing_ok=True)
    return code if code in _STOPPED else completing.code(arguments.min_ok)


class _Completing:
    """From a run file and what a sweep adds to it, to the file and the report of both."""

    def __init__(self, path: Path, target: Path, wanted: ReportWriter, top: int) -> None:
        self._path = path
        self._target = target
        self._wanted = wanted
        self._top = top
        self.draft = target.with_name(f".{target.name}.{os.getpid()}.resumed")
        """Where the sweep saves what it adds."""
        self.whole: RunResult | None = None

    def write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        """Write what both say; of the sweep alone, a report at least, when that cannot be. Raises `ConfigError`."""
        try:
            self.write_whole([self._path, self.draft], patterns)
        except ConfigError:
            if self.whole is None:
                self._wanted.write(result, patterns)
            raise

    def write_whole(self, paths: Sequence[Path], patterns: Sequence[re.Pattern[bytes]]) -> None:
        """Write what these files say, which was redacted, if at all, when they were written. Raises `ConfigError`."""
        merged = read_merged(paths)
        # Read before what is read is replaced.
        self.whole = run_result(merged, top=self._top)
        failed: ConfigError | None = None
        try:
            if self._target != self._path or len(paths) > 1:
                save_merged(merged, self._target)
        except ConfigError as error:
            failed = error
        self._wanted.write(self.whole, patterns)
        if failed is not None:
            raise failed

    def code(self, min_ok: float) -> int:
        """The exit code of the whole."""
        return 4 if self.whole is None else exit_code(self.whole, None, min_ok)


def _one_run(file: RunFile) -> RunInfo:
    if len(file.runs) != 1:
        raise ConfigError(
            f"it is of {len(file.runs)} runs, and only a single one can be resumed: sweep again with --limit "
            f"@{file.path}{SUFFIX}, and merge",
            file=file.path,
        )
    return file.runs[0]
