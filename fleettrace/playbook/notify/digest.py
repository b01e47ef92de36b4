"""What the runs of a day found, for a target that is notified once a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from fleettrace.playbook.findings import Finding, Severity
from fleettrace.text_format import plural, rfc3339

__all__ = ["MAX_FINDINGS", "Digest", "DigestFinding"]

MAX_FINDINGS = 500
"""Findings of one digest; the others are counted."""


@dataclass(frozen=True, slots=True)
class DigestFinding:
    """A finding of some of the runs."""

    id: str
    rule: str
    severity: str
    certainty: str
    message: str
    """Of the last run that had it."""
    runs: int
    last: float
    """The end of that run, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The runs since the last digest."""

    day: str
    """The controller's date on which it was begun: it is sent by the first run of another day."""
    since: float
    runs: int = 0
    failed: int = 0
    findings: Mapping[str, DigestFinding] = field(default_factory=dict)
    """By id."""
    omitted: int = 0
    """Findings beyond `MAX_FINDINGS`, at least: the most of one run, because their ids are not stored."""

    @classmethod
    def begun(cls, at: float) -> Digest:
        """Return an empty digest that begins now."""
        return cls(_day(at), at)

    def due(self, at: float) -> bool:
        """Return whether the controller's date is another one; a clock that stepped back sends it early."""
        return _day(at) != self.day

    def with_run(self, findings: tuple[Finding, ...], succeeded: bool, at: float) -> Digest:
        """Return the digest with one more run."""
        known, omitted = dict(self.findings), 0
        for one in findings:
            before = known.get(one.id)
            if before is None and len(known) >= MAX_FINDINGS:
                omitted += 1
                continue
            runs = 1 if before is None else before.runs + 1
            known[one.id] = DigestFinding(
                one.id, one.rule, one.severity.value, one.certainty.value, one.message, runs, at
            )
        failed = self.failed + (not succeeded)
        return replace(self, runs=self.runs + 1, failed=failed, findings=known, omitted=max(self.omitted, omitted))

    @property
    def summary(self) -> str:
        """Return one line: `3 findings in 24 runs, 1 of them failed`."""
        number = len(self.findings) + self.omitted
        found = f"{'at least ' if self.omitted else ''}{plural(number, 'finding')}" if number else "no finding"
        failed = f", {self.failed} of them failed" if self.failed else ""
        return f"digest: {found} in {plural(self.runs, 'run')}{failed}"

    def lines(self) -> list[str]:
        """Return a line for each finding, the most severe first, escaped for a terminal."""
        order = [one.value for one in sorted(Severity, key=lambda one: -one.level)]
        ranked = sorted(self.findings.values(), key=lambda one: (order.index(one.severity), -one.runs, -one.last))
        lines = [
            f"  {one.severity}, {one.certainty}: {one.message} (in {one.runs} of {plural(self.runs, 'run')}, last at "
            f"{_shown(one.last)})"
            for one in ranked
        ]
        return [*lines, f"  and at least {self.omitted:,} more"] if self.omitted else lines

    def document(self) -> dict[str, Any]:
        """Return the digest as plain values for JSON; times are in RFC 3339."""
        return {
            "since": _shown(self.since),
            "runs": self.runs,
            "failed": self.failed,
            "findings": [{**asdict(one), "last": _shown(one.last)} for one in self.findings.values()],
            "omitted": self.omitted,
        }

    def stored(self) -> dict[str, Any]:
        """Return the digest as plain values that `read` takes."""
        return {**asdict(self), "findings": [asdict(one) for one in self.findings.values()]}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Digest:
        """Return the digest of `stored`. Raises `KeyError`, `TypeError`, `ValueError` or `OverflowError` for another
        document."""
        findings = {each["id"]: DigestFinding(**each) for each in document["findings"][:MAX_FINDINGS]}
        numbers = {name: int(document[name]) for name in ("runs", "failed", "omitted")}
        digest = cls(str(document["day"]), float(document["since"]), findings=findings, **numbers)
        _shown(digest.since)
        for one in findings.values():
            Severity(one.severity)
            _shown(one.last)
        return digest


def _day(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().date().isoformat()


def _shown(at: float) -> str:
    return rfc3339(datetime.fromtimestamp(at, UTC), "seconds") or ""
