"""What a play prints on stdout: its report and findings, always or only when something is new."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fleettrace.app.output import ReportWriter, write_file_or_stdout
from fleettrace.app.play.setup import PreparedPlay
from fleettrace.playbook.findings import Findings
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyWhen
from fleettrace.report.interface import Output
from fleettrace.text_format import plural

__all__ = ["OnStdout", "print_findings", "stdout_writers"]


def stdout_writers(play: PreparedPlay) -> tuple[ReportWriter, ...]:
    """Return the outputs of a play that go to stdout."""
    return tuple(output for output in play.outputs if output.out is None)


def print_findings(play: PreparedPlay, findings: Findings) -> None:
    """Print the findings below a report that people read, on stderr beside one that programs read."""
    rules = plural(len(play.play.rules), "rule")
    title = f"FINDINGS  {play.play.title}: {len(findings.standing) or 'none'} by {rules}"
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
