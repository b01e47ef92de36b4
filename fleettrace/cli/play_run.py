"""One play: a run, what its rules find in it, and who is told."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fleettrace.cli import check
from fleettrace.cli.keeping import as_kept, open_history
from fleettrace.cli.output import write_file_or_stdout
from fleettrace.cli.play_setup import Prepared
from fleettrace.cli.progress import troubles
from fleettrace.cli.run import trace
from fleettrace.errors import ConfigError
from fleettrace.playbook.findings import Findings
from fleettrace.report.build import build_report
from fleettrace.report.interface import Output
from fleettrace.report.model import Report
from fleettrace.store.history import default_path
from fleettrace.store.history_model import KEPT_KEYS, KeptRun
from fleettrace.summary.run import RunResult

__all__ = ["check_play", "run_play"]

_FAMILIES = 200
"""Families that rules are held against: as many as the history keeps."""

_LOOKED_BACK = 50
"""Runs among which the one before is looked for: those that traced nothing are no baseline."""


def run_play(each: Prepared) -> int:
    """Sweep, report, and judge; gives the exit code."""
    telling = _Telling(each)
    code = trace(each.arguments, each.hidden, telling.write, troubles(quiet=each.arguments.quiet))
    if code == 0 and telling.findings.at_or_over(each.fail_on):
        return 1
    return code


def check_play(each: Prepared) -> int:
    """Log in and plan as the play would, and trace nothing; gives the exit code."""
    arguments = argparse.Namespace(**vars(each.arguments))
    arguments.output, arguments.out, arguments.html, arguments.prometheus_keys = "table", None, None, False
    return check.command(arguments)


class _Telling:
    """Writes the reports of one play, and what its rules find."""

    def __init__(self, each: Prepared) -> None:
        self.findings = Findings()
        self._each = each
        self._rules = each.play.rules

    def write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        """Write every output, then the findings. Raises `ConfigError`."""
        each = self._each
        if self._rules:
            self.findings = self._judged(result, patterns)
        silent = bool(self._rules) and each.arguments.quiet and not self.findings.standing
        reports: dict[int, Report] = {}
        for output in each.outputs:
            if output.out is None and silent:
                continue
            if output.top not in reports:
                reports[output.top] = build_report(result, top=output.top, patterns=patterns)
            output.show(reports[output.top])
        if self._rules and not silent:
            self._tell()

    def _judged(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> Findings:
        from fleettrace.playbook.rules.judge import judge
        from fleettrace.playbook.rules.scene import Evidence

        each = self._each
        kept = as_kept(result, patterns, each.hidden, each.play.title)
        report = build_report(result, top=KEPT_KEYS, patterns=patterns, templates=_FAMILIES)
        return judge(self._rules, Evidence(report, kept, _baseline(each)))

    def _tell(self) -> None:
        """Beneath a report that people read; beside one that machines read."""
        rules = f"{len(self._rules)} rule{'s' * (len(self._rules) > 1)}"
        title = f"FINDINGS  {self._each.play.title}: "
        lines = [f"{title}{len(self.findings.standing) or 'none'} by {rules}"]
        text = "".join(f"{line}\n" for line in [*lines, *(f"  {line}" for line in self.findings.lines())])
        machine = any(
            output.out is None and output.output not in (Output.TABLE, Output.MARKDOWN) for output in self._each.outputs
        )
        if machine:
            print(text, end="", file=sys.stderr, flush=True)
        else:
            write_file_or_stdout(None, f"\n{text}", sys.stdout.encoding or "ascii")


def _baseline(each: Prepared) -> KeptRun | None:
    """The newest run of this play, of the same hosts, that traced any; None when there is none."""
    arguments = each.arguments
    if not (default_path() if arguments.store is None else Path(arguments.store)).exists():
        return None
    try:
        with open_history(arguments) as history:
            for line in reversed(history.runs(_LOOKED_BACK, playbook=each.play.title)):
                if line.pattern == each.play.hosts and line.hosts_ok:
                    return history.load(line.run)
    except ConfigError as error:
        print(f"fleettrace: there is no run to compare with: {error}", file=sys.stderr)
    return None
