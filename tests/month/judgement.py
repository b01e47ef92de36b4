"""Hold one hour's audit against what was planted. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.month.audit import Outcome

__all__ = ["Verdict", "judged"]

_TOO_SHORT = "unknown: the windows are too short"
"""A quiet hour with traffic so uneven that a doubling would have been hidden, and that is reported as such."""


@dataclass(frozen=True)
class Verdict:
    """What an hour's audit found of what was planted, and what else."""

    quiet: bool
    """Nothing changed since the baseline, which was judged."""
    unjudged: bool
    """The audit reported that it could not judge all changes, without a planted reason."""
    found: tuple[tuple[str, str], ...]
    """Planted events, each with the line that names it."""
    missed: tuple[str, ...]
    """Expected patterns that no line has."""
    false: tuple[str, ...]
    """Findings without a planted cause."""


def judged(outcome: Outcome) -> Verdict:
    """Return the verdict on an hour."""
    hour, parts = outcome.hour, list(_parts(outcome.lines))
    expected = [(event, pattern) for event in outcome.events for pattern in event.expected(hour)]
    if hour == 0:
        parts = [part for part in parts if "first of its kind" not in part]
    found, missed = [], []
    for event, pattern in expected:
        line = next((part for part in parts if re.search(pattern, part)), None)
        if line is None:
            missed.append(f"{event.what}: {pattern}")
        else:
            found.append((event.what, line))
    known = [pattern for _, pattern in expected]
    unknown_too = known + [pattern for event in outcome.events for pattern in event.allowed]
    known += [pattern for event in outcome.events if event.changes(hour) for pattern in event.allowed]
    false = [part for part in parts if not _matched(part, unknown_too if _unknown(part) else known)]
    unjudged = any(_TOO_SHORT in part for part in false)
    return Verdict(
        quiet=not parts or (unjudged and len(parts) == 1),
        unjudged=unjudged,
        found=tuple(found),
        missed=tuple(missed),
        false=tuple(part for part in false if _TOO_SHORT not in part),
    )


def _parts(lines: Sequence[str]) -> Iterator[str]:
    """Yield each finding, and each change of a finding that lists several."""
    for line in lines:
        listed = re.fullmatch(
            r"(?P<how>\w+, \w+: )\d+ changes?: (?P<changes>.*) \((?P<rule>[^()]*)\)(?P<why>;.*)?", line
        )
        if listed is None:
            yield line
            continue
        for change in re.split(r"; (?!it may be)", listed["changes"]):
            yield f"{listed['how']}{change}"


def _unknown(part: str) -> bool:
    return re.match(r"\w+, unknown:", part) is not None


def _matched(part: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, part) for pattern in patterns)
