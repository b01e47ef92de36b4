"""What rules find, as values: how bad, how sure, about what, and by which figures.

A finding is `certain` when it holds whatever was not seen, `possible` when it holds of what was seen and the rest could
make it untrue, or is open within the bounds, and `unknown` when it cannot be told at all: then it stands for everything
that its rule could not judge, and says why.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Any

from fleettrace.summary.key import Key

__all__ = ["Certainty", "Figure", "Finding", "Findings", "Severity", "SubjectKind"]


class Severity(StrEnum):
    """How bad a finding is, as its rule says."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def level(self) -> int:
        """0 for the least."""
        return list(Severity).index(self)


class Certainty(StrEnum):
    """How sure a finding is."""

    CERTAIN = "certain"
    POSSIBLE = "possible"
    UNKNOWN = "unknown"


class SubjectKind(StrEnum):
    """What a rule, and a finding, is about."""

    KEY = "key"
    TEMPLATE = "template"
    HOST = "host"
    TOTALS = "totals"
    """The whole run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the evidence, with its bounds. Both None: not known, or a word."""

    field: str
    low: float | None
    high: float | None
    shown: str
    """For people; harmless on any terminal."""


@dataclass(frozen=True)
class Finding:
    """One thing that a rule found."""

    rule: str
    """The rule's name."""
    severity: Severity
    certainty: Certainty
    subject: SubjectKind
    name: Key | str | None
    """The key, template or host; None for the whole run, and where everything not judged is meant."""
    shown: str
    """The name on one line, with everything escaped that does not show; empty where there is none."""
    message: str
    """One line, harmless on any terminal."""
    figures: tuple[Figure, ...] = ()
    why: tuple[str, ...] = ()
    """What keeps it from being certain: `cache-003 is missing`."""
    event: str | None = None
    """For what happened since the baseline: the run that it happened in. Else a state, which may last for many runs."""
    marks: tuple[str, ...] = ()
    """What else tells it from other findings of the rule about the same subject."""

    @cached_property
    def id(self) -> str:
        """The same for the same finding in another run, but for an event; tells nothing of the name."""
        name = self.name
        subject = "" if name is None else f"{name.data.hex()}:{name.length}" if isinstance(name, Key) else name
        unknown = "unknown" if self.certainty is Certainty.UNKNOWN else ""
        parts = (self.rule, self.severity, self.subject, subject, unknown, self.event or "", *self.marks)
        return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def counts(self) -> bool:
        """Whether there is something to it: what is unknown is neither here nor there."""
        return self.certainty is not Certainty.UNKNOWN

    def document(self) -> dict[str, Any]:
        """The finding as plain values for JSON."""
        data = self.name.data if isinstance(self.name, Key) else None
        return {
            "id": self.id,
            "rule": self.rule,
            "severity": self.severity.value,
            "certainty": self.certainty.value,
            "subject": self.subject.value,
            "name": self.shown or None,
            "name_base64": None if data is None else b64encode(data).decode(),
            "message": self.message,
            "figures": [
                {"field": one.field, "low": _finite(one.low), "high": _finite(one.high), "shown": one.shown}
                for one in self.figures
            ],
            "why": list(self.why),
            "event": self.event,
        }


def _finite(bound: float | None) -> float | None:
    """JSON has no infinity: no bound is null."""
    return None if bound is None or abs(bound) == float("inf") else bound


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of a play, the gravest and surest first."""

    all: tuple[Finding, ...] = ()
    """Those that are unknown are among them, one for each rule that could not judge everything."""

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Findings:
        """The findings in their order; those of one rule stay in the order in which they come."""
        order = list(Certainty)
        return cls(tuple(sorted(findings, key=lambda one: (-one.severity.level, order.index(one.certainty)))))

    @property
    def standing(self) -> tuple[Finding, ...]:
        """Those that are certain or possible."""
        return tuple(one for one in self.all if one.counts)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """What could not be told."""
        return tuple(one for one in self.all if not one.counts)

    def at_or_over(self, severity: Severity) -> tuple[Finding, ...]:
        """The certain and possible findings that are so grave: what `--fail-on` asks for."""
        return tuple(one for one in self.standing if one.severity.level >= severity.level)

    def number(self, severity: Severity, certainty: Certainty) -> int:
        """How many there are."""
        return sum(one.severity is severity and one.certainty is certainty for one in self.all)

    def lines(self) -> list[str]:
        """A line for each finding, harmless on any terminal: `high, certain: key a: ...`."""
        return [f"{one.severity}, {one.certainty}: {one.message}" for one in self.all]
