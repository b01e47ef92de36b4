"""One play: a run, what its rules find in it, and who is told."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fleettrace.cli import check
from fleettrace.cli.keeping import as_kept, open_history
from fleettrace.cli.play_setup import Prepared
from fleettrace.cli.play_telling import OnStdout, show_findings, to_stdout
from fleettrace.cli.progress import troubles
from fleettrace.cli.run import trace
from fleettrace.errors import BusyError, ConfigError, FleettraceError
from fleettrace.playbook.findings import Findings
from fleettrace.playbook.notify.interface import Notice, NotifyError
from fleettrace.playbook.notify.send import notify
from fleettrace.playbook.notify.stamp import StampTarget
from fleettrace.report.build import build_report
from fleettrace.report.escape import escape_text
from fleettrace.report.model import Report
from fleettrace.store.history.database import default_path
from fleettrace.store.history.model import STORED_KEYS, StoredRun
from fleettrace.summary.run import RunResult

__all__ = ["check_play", "run_play"]

_SUCCEEDED = (0, 1, 3)
_FAMILIES = 200
"""Families that rules are held against: as many as the history keeps."""

_LOOKED_BACK = 50
"""Runs among which the one before is looked for: those that traced nothing are no baseline."""


def run_play(each: Prepared) -> int:
    """Sweep, report, judge, and tell; gives the exit code. Raises `FleettraceError`."""
    judging = _Judging(each)
    try:
        code = trace(each.arguments, each.hidden, judging.write, troubles(quiet=each.arguments.quiet))
    except BusyError:
        raise
    except FleettraceError as error:
        _notify(each, judging, 2 if isinstance(error, ConfigError) else 4)
        raise
    if code == 0 and judging.findings.at_or_over(each.fail_on):
        code = 1
    _notify(each, judging, code)
    return code


def check_play(each: Prepared) -> int:
    """Log in and plan as the play would, and trace nothing; gives the exit code."""
    for target in each.play.notify:
        try:
            target.check()
        except NotifyError as error:
            _warn(each, f"{target.name}: {error}")
    arguments = argparse.Namespace(**vars(each.arguments))
    arguments.output, arguments.out, arguments.html, arguments.prometheus_keys = "table", None, None, False
    return check.command(arguments)


class _Judging:
    """Writes the reports of one play, and holds its rules against the run."""

    def __init__(self, each: Prepared) -> None:
        self.findings = Findings()
        self.report: Report | None = None
        self._each = each

    def write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        """Write what goes to files, and to stdout unless that waits for what is new. Raises `ConfigError`."""
        each = self._each
        if each.play.rules:
            self.findings = self._judged(result, patterns)
        self.report = build_report(result, top=each.arguments.top, patterns=patterns)
        failed: ConfigError | None = None
        for output in each.outputs:
            try:
                if output.out is not None or not each.on_change:
                    output.show(self.report)
            except ConfigError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        if each.play.rules and not each.on_change:
            show_findings(each, self.findings)

    def _judged(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> Findings:
        from fleettrace.playbook.rules.eval_context import Evidence
        from fleettrace.playbook.rules.judge import judge

        each = self._each
        kept = as_kept(result, patterns, each.hidden, each.arguments.playbook)
        report = build_report(result, top=STORED_KEYS, patterns=patterns, templates=_FAMILIES)
        return judge(each.play.rules, Evidence(report, kept, _baseline(each)))


def _notify(each: Prepared, judging: _Judging, code: int) -> None:
    """Tell whoever the play names, and stdout where that is told only of what is new. Nothing of it is fatal."""
    play = each.play
    # A part of the hosts is a play of its own: what it does not find is not gone, and the whole has not succeeded.
    name = each.arguments.playbook.removeprefix(f"{play.playbook}/")
    told = [target for target in play.notify if name == play.name or not isinstance(target, StampTarget)]
    targets = (*([OnStdout(to_stdout(each))] if each.on_change else []), *told)
    succeeded = code in _SUCCEEDED
    notice = Notice(play.playbook, name, judging.findings, judging.report, succeeded, code, time.time())
    notify(targets, notice, _store(each).parent / "notified", lambda words: _warn(each, words))


def _warn(each: Prepared, words: str) -> None:
    print(f"fleettrace: {escape_text(f'{each.play.title}: {words}')}", file=sys.stderr, flush=True)


def _store(each: Prepared) -> Path:
    given: str | None = each.arguments.store
    return default_path() if given is None else Path(given)


def _baseline(each: Prepared) -> StoredRun | None:
    """The newest run of this play, of the same hosts, that traced any; None when there is none."""
    if not _store(each).exists():
        return None
    try:
        with open_history(each.arguments) as history:
            for line in reversed(history.runs(_LOOKED_BACK, playbook=each.arguments.playbook)):
                if line.pattern == each.play.hosts and line.hosts_ok:
                    return history.load(line.run)
    except ConfigError as error:
        _warn(each, f"there is no run to compare with: {error}")
    return None
