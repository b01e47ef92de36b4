"""The notice of one play, and the protocol of the targets that it is sent to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

from fleettrace.errors import FleettraceError
from fleettrace.playbook.findings import Certainty, Finding, Findings, Severity
from fleettrace.playbook.notify.digest import Digest
from fleettrace.report.json_format import to_json
from fleettrace.report.model import Report
from fleettrace.text_format import plural
from fleettrace.yaml_reader.tree import Location

__all__ = ["SCHEMA", "FindingChanges", "Notice", "NotifyError", "NotifyTarget", "NotifyWhen", "ResolvedFinding"]

SCHEMA = "fleettrace/notice/1"


class NotifyError(FleettraceError):
    """A notice could not be sent. The text is one line, without secrets."""


class NotifyWhen(StrEnum):
    """When a target receives a notice."""

    CHANGE = "change"
    """When the findings differ from those of its last notice."""
    EVERY = "every"
    """After every run of the play."""
    DAILY = "daily"
    """Once a day, with what all runs since the last digest found."""


@dataclass(frozen=True, slots=True)
class ResolvedFinding:
    """A finding of an earlier notice to a target that no longer exists."""

    id: str
    rule: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class FindingChanges:
    """What differs from a target's last notice."""

    new: tuple[Finding, ...] = ()
    resolved: tuple[ResolvedFinding, ...] = ()
    outcome_changed: bool = False
    """Whether the play succeeded this time and failed the last time, or the reverse."""
    repeated: tuple[Finding, ...] = ()
    """Persisting findings of which the target was last notified longer ago than its `repeat`."""
    digest: Digest | None = None
    """For a target that is notified once a day."""

    def __bool__(self) -> bool:
        return bool(self.new or self.resolved or self.outcome_changed or self.repeated)


@dataclass(frozen=True, slots=True)
class Notice:
    """The outcome of one play."""

    playbook: str
    play: str
    findings: Findings
    report: Report | None
    """The report as the user sees it; None when the play made none."""
    succeeded: bool
    """Whether the exit code is 0, 1 or 3."""
    exit_code: int
    at: float
    """The end of the play, in seconds since 1970."""
    problems: tuple[str, ...] = ()
    """Why the play failed although it traced: a history that cannot be read or written. One line each, escaped."""
    report_command: str | None = None
    """The command that shows the whole run; None when the run is not stored."""

    @property
    def title(self) -> str:
        """Return the play's title, without any name that a node or a client chose."""
        return f"{self.playbook}: {self.play}" if self.play and self.play != self.playbook else self.playbook

    @property
    def summary(self) -> str:
        """Return the number of findings by severity: `2 high, 1 low`."""
        if not self.succeeded:
            return f"failed with exit code {self.exit_code}{''.join(f'; {problem}' for problem in self.problems)}"
        counts = {
            severity: sum(self.findings.number(severity, one) for one in (Certainty.CERTAIN, Certainty.POSSIBLE))
            for severity in reversed(Severity)
        }
        return ", ".join(f"{count} {severity}" for severity, count in counts.items() if count) or "no finding"

    def headline(self, changes: FindingChanges) -> str:
        """Return the title and the summary, of the run or of the digest."""
        return f"{self.title}: {self.summary if changes.digest is None else changes.digest.summary}"

    def document(self, changes: FindingChanges) -> dict[str, Any]:
        """Return the notice as plain values for JSON, for commands and webhooks."""
        return {
            "schema": SCHEMA,
            "playbook": self.playbook,
            "play": self.play,
            "run": None if self.report is None else self.report.info.id,
            "succeeded": self.succeeded,
            "exit_code": self.exit_code,
            "problems": list(self.problems),
            "summary": self.headline(changes),
            "findings": [one.document() for one in self.findings.all],
            "new": [one.id for one in changes.new],
            "gone": [asdict(one) for one in changes.resolved],
            "repeated": [one.id for one in changes.repeated],
            "digest": None if changes.digest is None else changes.digest.document(),
            "report": None if self.report is None else to_json(self.report),
        }

    def lines(self, changes: FindingChanges) -> list[str]:
        """Return the lines of the notice for people, escaped for a terminal, new findings first."""
        if changes.digest is not None:
            return [self.headline(changes), *changes.digest.lines()]
        new = {one.id for one in changes.new}
        again = {one.id for one in changes.repeated}
        lines = [self.headline(changes)]
        for finding in sorted(self.findings.all, key=lambda one: one.id not in new):
            mark = "new" if finding.id in new else "yet" if finding.id in again else "   "
            lines.append(f"  {mark}  {finding.severity}, {finding.certainty}: {finding.message}")
        lines += [f"  gone {one.severity}: {one.message}" for one in changes.resolved]
        if self.report is not None:
            lines += ["", self._about_run(self.report)]
        return lines

    def _about_run(self, report: Report) -> str:
        traced = f"{report.totals.hosts_traced} of {plural(report.totals.hosts, 'host')} traced"
        return traced if self.report_command is None else f"{traced}; all of it: {self.report_command}"


class NotifyTarget(Protocol):
    """A receiver of notices."""

    @property
    def on(self) -> NotifyWhen:
        """When it receives notices."""
        ...

    @property
    def origin(self) -> Location | None:
        """Where its playbook names it; None for one that no playbook names."""
        ...

    @property
    def repeat_s(self) -> float | None:
        """Seconds after which it is notified of a persisting finding again; None: never."""
        ...

    @property
    def name(self) -> str:
        """Its name in warnings, without secrets (`webhook https://chat.example`)."""
        ...

    @property
    def address(self) -> str:
        """Its identity among all targets; never shown, and stored as a hash only."""
        ...

    def check(self) -> None:
        """Raise `NotifyError` if sending is bound to fail."""
        ...

    def send(self, notice: Notice, changes: FindingChanges) -> None:
        """Send the notice. Raise `NotifyError`."""
        ...
