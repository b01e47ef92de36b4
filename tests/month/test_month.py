"""A month of hourly audits finds each planted event in its hour, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.month import results
from tests.month.audit import Audit
from tests.month.events import EVENTS
from tests.month.judgement import Verdict, judged

HOURS = 720
SLICE = range(130, 265)
"""Hours of the short month: an outage, a stop, an absence, and clocks."""


def verdicts(directory: Path, monkeypatch: pytest.MonkeyPatch, hours: range, seed: int) -> list[Verdict]:
    audit = Audit(directory, monkeypatch, seed)
    audit.run(hours.start - 1)
    return [judged(audit.run(hour)) for hour in hours]


def test_days_of_audits_find_what_was_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = verdicts(tmp_path, monkeypatch, SLICE, seed=1)
    assert [(one.missed, one.false) for one in found if one.missed or one.false] == []
    assert sum(one.quiet for one in found) > 80


@pytest.mark.month
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 7))
def test_month_of_audits_finds_what_was_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    found = verdicts(tmp_path, monkeypatch, range(1, HOURS), seed)
    results.keep(seed, 1, found)
    assert [(one.missed, one.false) for one in found if one.missed or one.false] == []
    assert sum(one.quiet for one in found) >= 500
    assert sum(one.unjudged for one in found) <= 0.02 * HOURS
    named = {what for one in found for what, _ in one.found}
    assert named == {event.what for event in EVENTS if event.at_begin or event.during or event.at_end or event.later}
