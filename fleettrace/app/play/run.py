"""One play: a run, the findings of its rules, and the notices about them."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleettrace.app.check import check
from fleettrace.app.exclusive import lock_directory
from fleettrace.app.exit_code import exit_code
from fleettrace.app.history import find_baseline, history_exists, history_record, open_history, store_path
from fleettrace.app.output import ReportWriter, write_file_or_stdout
from fleettrace.app.play.setup import PreparedPlay
from fleettrace.app.play.targets import STATE_DIRECTORY
from fleettrace.app.play.windows import window_warnings
from fleettrace.app.runner import trace
from fleettrace.errors import BusyError, ConfigError, FleettraceError
from fleettrace.playbook.findings import Findings
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyWhen
from fleettrace.playbook.notify.send import notify
from fleettrace.playbook.notify.stamp import StampTarget
from fleettrace.report.build import build_report
from fleettrace.report.escape import escape_text
from fleettrace.report.formats import Output
from fleettrace.report.items import Sort
from fleettrace.report.model import Report
from fleettrace.store.diff.baseline import Baseline
from fleettrace.store.history.model import STORED_KEYS, StoredRun
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Subscriber
from fleettrace.text_format import plural

__all__ = ["check_play", "run_play"]


def stdout_writers(play: PreparedPlay) -> tuple[ReportWriter, ...]:
    """Return the outputs of a play that go to stdout."""
    return tuple(output for output in play.outputs if output.out is None)


def print_findings(play: PreparedPlay, findings: Findings) -> None:
    """Print the findings below a report that people read, on stderr beside one that programs read."""
    rules = plural(len(play.play.rules), "rule")
    open_ = f", {len(findings.unknown)} not judged" if findings.unknown else ""
    title = f"FINDINGS  {play.play.title}: {len(findings.standing) or 'none'} by {rules}{open_}"
    _print([title, *(f"  {line}" for line in findings.lines())], stdout_writers(play))


def _print(lines: Sequence[str], outputs: Sequence[ReportWriter]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if any(output.output not in (Output.TABLE, Output.MARKDOWN) for output in outputs):
        print(text, end="", file=sys.stderr, flush=True)
    else:
        write_file_or_stdout(None, f"\n{text}" if outputs else text, sys.stdout.encoding or "ascii")


@dataclass(frozen=True, slots=True)
class OnStdout:
    """The readers of a scheduled play's output, by cron's mail or the journal: they get only what is new."""

    outputs: tuple[ReportWriter, ...]

    @property
    def on(self) -> NotifyWhen:
        """Always on change."""
        return NotifyWhen.CHANGE

    @property
    def origin(self) -> None:
        """Return None: no playbook names it."""

    @property
    def repeat_s(self) -> None:
        """Return None: what persists is not printed again."""

    @property
    def name(self) -> str:
        """The name in warnings."""
        return "stdout"

    @property
    def address(self) -> str:
        """A play has one stdout."""
        return "stdout"

    def check(self) -> None:
        """Stdout needs no check."""

    def send(self, notice: Notice, changes: FindingChanges) -> None:
        """Write the report and the findings."""
        if notice.report is not None:
            for output in self.outputs:
                output.show(notice.report)
        _print(notice.lines(changes), self.outputs if notice.report is not None else ())


_SUCCEEDED = (0, 1, 3)
_STOPPED = (130, 143)

_FAMILIES = 200

"""Number of families that rules judge: as many as the history stores."""


def run_play(play: PreparedPlay, subscriber: Subscriber, warn: Callable[[str], None]) -> int:
    """Sweep, report, judge and notify; return the exit code. Raises `FleettraceError`."""
    judgement = _Judgement(play, warn)
    try:
        result = trace(
            play.options,
            play.redact,
            judgement.write,
            subscriber=subscriber,
            warn=warn,
            not_stored=judgement.history_failed,
        )
    except BusyError:
        raise
    except FleettraceError as error:
        _notify(play, judgement, 2 if isinstance(error, ConfigError) else 4, warn)
        raise
    code = exit_code(result, play.options.min_ok)
    if code == 0 and judgement.findings.at_or_over(play.fail_on):
        code = 1
    if judgement.problems and _needs_history(play) and code not in _STOPPED:
        code = 2
    _notify(play, judgement, code, warn)
    return code


def _needs_history(play: PreparedPlay) -> bool:
    """Return whether a history that cannot be read or written is a failure: rules compare with it, or the playbook or
    the command line name it."""
    asked = play.options.store is not None or play.play.keep is not None
    return any(rule.needs_baseline for rule in play.play.rules) or (asked and not play.options.no_store)


def check_play(play: PreparedPlay, subscriber: Subscriber, warn: Callable[[str], None]) -> int:
    """Log in and plan as the play would, trace nothing; return the exit code."""
    try:
        for message in window_warnings(play):
            warn(f"{play.play.title}: {message}")
    except ConfigError as error:
        warn(f"{play.play.title}: {error}")
    options = replace(play.options, output="table", out=None, html=None, prometheus_keys=False)
    return exit_code(check(options, subscriber=subscriber, warn=warn), options.min_ok, traced=False)


class _Judgement:
    """Writes the reports of a play, and judges its run by the play's rules."""

    def __init__(self, play: PreparedPlay, warn: Callable[[str], None]) -> None:
        self.findings = Findings()
        self.report: Report | None = None
        self.problems: list[str] = []
        """Why the history could not be read or written."""
        self._play = play
        self._warn = warn

    def write(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> None:
        """Write the outputs to files, and to stdout unless stdout gets only what is new. Raises `ConfigError`."""
        play = self._play
        if play.play.rules:
            self.findings = self._judge(result, patterns)
        self.report = build_report(result, top=play.options.top, patterns=patterns, sort=Sort(play.options.sort))
        failed: ConfigError | None = None
        for output in play.outputs:
            try:
                if output.out is not None or not play.on_change:
                    output.show(self.report)
            except ConfigError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        if play.play.rules and not play.on_change:
            print_findings(play, self.findings)

    def history_failed(self, message: str) -> None:
        """Note why the history could not be used. Where stdout gets the notice, which has it once, stderr does not."""
        self.problems.append(escape_text(message))
        if not self._play.on_change:
            self._warn(f"{self._play.play.title}: {message}")

    def _judge(self, result: RunResult, patterns: Sequence[re.Pattern[bytes]]) -> Findings:
        from fleettrace.playbook.rules.eval_context import Evidence
        from fleettrace.playbook.rules.judge import judge

        play = self._play
        stored = history_record(result, patterns, play.redact, play.options)
        report = build_report(result, top=STORED_KEYS, patterns=patterns, templates=_FAMILIES)
        return judge(play.play.rules, Evidence(report, stored, *self._baseline(stored)))

    def _baseline(self, stored: StoredRun) -> tuple[Baseline | None, str]:
        """Return what to compare the run with; None, and why, when no run is comparable."""
        play = self._play
        try:
            if not history_exists(play.options.store):
                return None, "it is the first of its kind"
            with open_history(play.options.store) as history:
                baseline, why = find_baseline(history, stored)
        except ConfigError as error:
            self.history_failed(f"no run to compare with: {error}")
            return None, "the history cannot be read"
        if baseline is not None and (note := baseline.dated_after(stored)) is not None:
            self._warn(f"{play.play.title}: {note}")
        return baseline, why


def _spare() -> Path | None:
    """Return the directory for states of notices while the one beside the history cannot be written."""
    try:
        return lock_directory()
    except ConfigError:
        return None


def _report_command(play: PreparedPlay, judgement: _Judgement) -> str | None:
    """Return the command that shows the run again; None when it is not stored."""
    if judgement.report is None or play.options.no_store or judgement.problems:
        return None
    store = [] if play.options.store is None else ["--store", play.options.store]
    return shlex.join(["fleettrace", "report", judgement.report.info.id, *store])


def _notify(play: PreparedPlay, judgement: _Judgement, code: int, warn: Callable[[str], None]) -> None:
    """Notify the play's targets, and stdout where it gets only what is new. No failure here is fatal."""
    own = play.play
    # A part of the hosts is a play of its own: findings on the others are not resolved, and the whole did not succeed.
    name = play.options.playbook.removeprefix(f"{own.playbook}/")
    targets = [target for target in own.notify if name == own.name or not isinstance(target, StampTarget)]
    stdout = [OnStdout(stdout_writers(play))] if play.on_change else []
    notice = Notice(
        own.playbook,
        name,
        judgement.findings,
        judgement.report,
        code in _SUCCEEDED,
        code,
        time.time(),
        tuple(judgement.problems),
        _report_command(play, judgement),
    )
    state = store_path(play.options.store).parent / STATE_DIRECTORY
    notify((*stdout, *targets), notice, state, lambda message: warn(f"{own.title}: {message}"), _spare())
