"""What a play says on stdout: its report and its findings, always or only when there is something new."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fleettrace.cli.output import ReportWriter, write_file_or_stdout
from fleettrace.cli.play_setup import Prepared
from fleettrace.playbook.findings import Findings
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyWhen
from fleettrace.report.formats import Output

__all__ = ["OnStdout", "show_findings", "to_stdout"]


def to_stdout(each: Prepared) -> tuple[ReportWriter, ...]:
    """The outputs that go there."""
    return tuple(output for output in each.outputs if output.out is None)


def show_findings(each: Prepared, findings: Findings) -> None:
    """Beneath a report that people read, beside one that machines read."""
    number = len(each.play.rules)
    rules = f"{number} rule{'s' * (number > 1)}"
    title = f"FINDINGS  {each.play.title}: {len(findings.standing) or 'none'} by {rules}"
    _say([title, *(f"  {line}" for line in findings.lines())], to_stdout(each))


def _say(lines: Sequence[str], outputs: Sequence[ReportWriter]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if any(output.output not in (Output.TABLE, Output.MARKDOWN) for output in outputs):
        print(text, end="", file=sys.stderr, flush=True)
    else:
        write_file_or_stdout(None, f"\n{text}" if outputs else text, sys.stdout.encoding or "ascii")


@dataclass(frozen=True, slots=True)
class OnStdout:
    """Whoever reads what a scheduled play writes, by way of cron's mail or the journal: told only of what is new."""

    outputs: tuple[ReportWriter, ...]

    @property
    def on(self) -> NotifyWhen:
        """Only then."""
        return NotifyWhen.CHANGE

    @property
    def name(self) -> str:
        """For warnings."""
        return "stdout"

    @property
    def address(self) -> str:
        """There is one."""
        return "stdout"

    def check(self) -> None:
        """It can always be written to."""

    def tell(self, notice: Notice, news: FindingChanges) -> None:
        """Write the report and what was found."""
        if notice.report is not None:
            for output in self.outputs:
                output.show(notice.report)
        _say(notice.lines(news), self.outputs if notice.report is not None else ())
