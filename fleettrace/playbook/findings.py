"""The findings of rules as values: severity, certainty, subject, and the numbers behind them.

A finding is `certain` when it holds whatever was not traced. It is `possible` when it holds on the traced hosts but the
others could refute it, or when the bounds allow both. An `unknown` finding stands for all subjects that its rule could
not judge, with the reasons.
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
    """How severe a finding is; its rule sets it."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def level(self) -> int:
        """Return the rank, 0 for the least severe."""
        return list(Severity).index(self)

    @property
    def milder(self) -> Severity:
        """Return the next less severe one; the least severe one is its own."""
        return list(Severity)[max(self.level - 1, 0)]


class Certainty(StrEnum):
    """How certain a finding is."""

    CERTAIN = "certain"
    POSSIBLE = "possible"
    UNKNOWN = "unknown"


class SubjectKind(StrEnum):
    """The kind of subject that a rule judges."""

    KEY = "key"
    TEMPLATE = "template"
    HOST = "host"
    TOTALS = "totals"
    """The whole run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of the evidence, with its bounds. Both are None for a word and for an unknown value."""

    field: str
    low: float | None
    high: float | None
    shown: str
    """The value as text, escaped for a terminal."""


@dataclass(frozen=True)
class Finding:
    """One subject for which a rule holds."""

    rule: str
    """The rule's name."""
    severity: Severity
    certainty: Certainty
    subject: SubjectKind
    name: Key | str | None
    """The key, template or host; None for the whole run, and for a finding that stands for several subjects."""
    shown: str
    """The name on one line, escaped for a terminal; empty without a name."""
    message: str
    """One line, escaped for a terminal."""
    figures: tuple[Figure, ...] = ()
    why: tuple[str, ...] = ()
    """The reasons why it is not certain: `cache-003 is missing`."""
    event: str | None = None
    """For a change since the baseline: the id of the run. None for a state, which can last for many runs."""
    marks: tuple[str, ...] = ()
    """Hashes that distinguish it from other findings of the rule about the same subject."""

    @cached_property
    def id(self) -> str:
        """Return a hash that is stable across runs, except for an event; it does not disclose the name."""
        name = self.name
        subject = "" if name is None else f"{name.data.hex()}:{name.length}" if isinstance(name, Key) else name
        unknown = "unknown" if self.certainty is Certainty.UNKNOWN else ""
        parts = (self.rule, self.severity, self.subject, subject, unknown, self.event or "", *self.marks)
        return sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def counts(self) -> bool:
        """Return whether the finding is certain or possible."""
        return self.certainty is not Certainty.UNKNOWN

    def document(self) -> dict[str, Any]:
        """Return the finding as plain values for JSON."""
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
    """Return None for an infinite bound, which JSON cannot express."""
    return None if bound is None or abs(bound) == float("inf") else bound


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of a play, the most severe and most certain first."""

    all: tuple[Finding, ...] = ()
    """Includes an unknown finding for each rule that could not judge all subjects."""

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Findings:
        """Sort `findings`; equal ones stay in their order."""
        order = list(Certainty)
        return cls(tuple(sorted(findings, key=lambda one: (-one.severity.level, order.index(one.certainty)))))

    @property
    def standing(self) -> tuple[Finding, ...]:
        """Return the certain and possible findings."""
        return tuple(one for one in self.all if one.counts)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """Return the unknown findings."""
        return tuple(one for one in self.all if not one.counts)

    def at_or_over(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the certain and possible findings of at least this severity, for `--fail-on`."""
        return tuple(one for one in self.standing if one.severity.level >= severity.level)

    def number(self, severity: Severity, certainty: Certainty) -> int:
        """Return the number of findings of this severity and certainty."""
        return sum(one.severity is severity and one.certainty is certainty for one in self.all)

    def lines(self) -> list[str]:
        """Return a line for each finding, escaped for a terminal: `high, certain: key a: ...`."""
        return [f"{one.severity}, {one.certainty}: {one.message}" for one in self.all]
