"""`fleettrace.text_format` and the values of `fleettrace.errors`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from fleettrace.errors import HostState
from fleettrace.text_format import color_allowed, plural, rfc3339


def test_plural() -> None:
    assert [plural(number, "host") for number in (0, 1, 2000)] == ["0 hosts", "1 host", "2,000 hosts"]
    assert [plural(1, "process"), plural(2, "process")] == ["1 process", "2 processes"]


def test_rfc3339_is_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert rfc3339(datetime(2026, 9, 21, 5, 12, 4, 250_000, tzinfo=east)) == "2026-09-21T03:12:04.250Z"
    assert rfc3339(datetime(2026, 9, 21, 5, 12, 4)) == "2026-09-21T05:12:04.000Z"
    assert rfc3339(None) is None


@pytest.mark.parametrize("microseconds", [0, 250_001])
def test_rfc3339_keeps_every_digit(microseconds: int) -> None:
    time = datetime(2026, 9, 21, 5, 12, 4, microseconds, tzinfo=UTC)
    assert datetime.fromisoformat(rfc3339(time, "auto")) == time
    assert rfc3339(time, "seconds") == "2026-09-21T05:12:04Z"


def test_no_color_disables_color(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, allowed in (("", True), ("0", False), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        assert color_allowed(disabled=False) is allowed
    monkeypatch.delenv("NO_COLOR")
    assert color_allowed(disabled=False)
    assert not color_allowed(disabled=True)


def test_complete_host_states() -> None:
    assert {state.value for state in HostState if state.complete} == {"ok", "no-instances"}
