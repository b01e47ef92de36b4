"""Which keys `who` accepts, and how it names clients."""

from __future__ import annotations

import time

import pytest

from fleettrace.app import who
from fleettrace.app.who import asked_keys, names_of
from fleettrace.errors import ConfigError


def test_keys_are_read_as_reports_show_them() -> None:
    assert asked_keys(["a", r"\xff\n", "a", r"C:\q"]) == [b"a", b"\xff\n", rb"C:\q"]


@pytest.mark.parametrize(
    "given",
    [[""], ["x" * 251], [str(number) for number in range(17)], ["a" * 250] * 0 + [f"{n}" * 250 for n in range(5)]],
)
def test_impossible_or_too_many_keys_are_refused(given: list[str]) -> None:
    with pytest.raises(ConfigError):
        asked_keys(given)


def test_only_addresses_are_asked_for_names() -> None:
    asked: list[str] = []

    def lookup(address: str) -> str:
        asked.append(address)
        if address == "10.0.0.2":
            raise OSError("no name")
        return "web"

    assert names_of(["10.0.0.1", "unix", "10.0.0.2"], lookup) == {"10.0.0.1": "web"}
    assert sorted(asked) == ["10.0.0.1", "10.0.0.2"]


def test_silent_name_servers_are_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(who, "_RESOLVE_S", 0.05)
    began = time.monotonic()
    assert names_of(["10.0.0.1"], lambda _: time.sleep(0.5) or "late") == {}  # type: ignore[func-returns-value]
    assert time.monotonic() - began < 0.4
