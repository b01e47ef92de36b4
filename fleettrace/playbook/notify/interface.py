"""What is told, and to whom: a notice of one play, and what every target of notices can do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from fleettrace.errors import FleettraceError
from fleettrace.playbook.findings import Certainty, Finding, Findings, Severity
from fleettrace.report.json_format import to_json
from fleettrace.report.model import Report
from fleettrace.text_format import plural

__all__ = ["SCHEMA", "FindingChanges", "Notice", "NotifyError", "NotifyTarget", "NotifyWhen", "ResolvedFinding"]

SCHEMA = "fleettrace/notice/1"


class NotifyError(FleettraceError):
    """Somebody could not be told. Its text is one line, without secrets."""


class NotifyWhen(StrEnum):
    """When a target is told."""

    CHANGE = "change"
    """When the findings are others than those that it was told of last."""
    EVERY = "every"
    """After every run of the play."""


@dataclass(frozen=True, slots=True)
class ResolvedFinding:
    """A finding that a target was told of, and that is there no more."""

    id: str
    rule: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class FindingChanges:
    """What is new to a target."""

    new: tuple[Finding, ...] = ()
    gone: tuple[ResolvedFinding, ...] = ()
    turned: bool = False
    """Whether the play succeeded and did not the last time, or the reverse."""

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.turned)


@dataclass(frozen=True, slots=True)
class Notice:
    """What became of one play."""

    playbook: str
    play: str
    findings: Findings
    report: Report | None
    """As the reader is shown it; None when there is none."""
    succeeded: bool
    """Whether the play did what it was to do: exit codes 0, 1 and 3."""
    exit_code: int
    at: float
    """When it ended: seconds since 1970."""

    @property
    def title(self) -> str:
        """The play in a few words, without any name that a node or a client chose."""
        return f"{self.playbook}: {self.play}" if self.play and self.play != self.playbook else self.playbook

    @property
    def verdict(self) -> str:
        """What was found, in numbers: `2 high, 1 low`."""
        if not self.succeeded:
            return f"failed with exit code {self.exit_code}"
        counts = {
            severity: sum(self.findings.number(severity, sure) for sure in (Certainty.CERTAIN, Certainty.POSSIBLE))
            for severity in reversed(Severity)
        }
        return ", ".join(f"{count} {severity}" for severity, count in counts.items() if count) or "no finding"

    def document(self, news: FindingChanges) -> dict[str, Any]:
        """The notice as plain values for JSON: what commands and webhooks are given."""
        return {
            "schema": SCHEMA,
            "playbook": self.playbook,
            "play": self.play,
            "run": None if self.report is None else self.report.info.id,
            "succeeded": self.succeeded,
            "exit_code": self.exit_code,
            "summary": f"{self.title}: {self.verdict}",
            "findings": [one.document() for one in self.findings.all],
            "new": [one.id for one in news.new],
            "gone": [
                {"id": one.id, "rule": one.rule, "severity": one.severity, "message": one.message} for one in news.gone
            ],
            "report": None if self.report is None else to_json(self.report),
        }

    def lines(self, news: FindingChanges) -> list[str]:
        """The notice for people, a line each, harmless on any terminal; what is new first."""
        new = {one.id for one in news.new}
        lines = [f"{self.title}: {self.verdict}"]
        for finding in sorted(self.findings.all, key=lambda one: one.id not in new):
            mark = "new" if finding.id in new else "   "
            lines.append(f"  {mark}  {finding.severity}, {finding.certainty}: {finding.message}")
        lines += [f"  gone {one.severity}: {one.message}" for one in news.gone]
        if self.report is not None:
            lines += ["", *_about_run(self.report)]
        return lines


def _about_run(report: Report) -> list[str]:
    totals = report.totals
    traced = f"{totals.hosts_traced} of {plural(totals.hosts, 'host')} traced"
    return [f"{traced}; the whole of it: fleettrace report {report.info.id}"]


class NotifyTarget(Protocol):
    """Somebody, or something, to be told."""

    @property
    def on(self) -> NotifyWhen:
        """When."""
        ...

    @property
    def name(self) -> str:
        """For warnings: what it is, without secrets (`webhook https://chat.example`)."""
        ...

    @property
    def address(self) -> str:
        """Tells it from every other target; never shown, and kept as a hash only."""
        ...

    def check(self) -> None:
        """Raise `NotifyError` now for what can be seen to fail later."""
        ...

    def tell(self, notice: Notice, news: FindingChanges) -> None:
        """Tell it. Raises `NotifyError`."""
        ...
