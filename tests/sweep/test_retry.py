"""Only a login is retried, and only after a transient failure."""

from __future__ import annotations

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.sweep import workers
from fleettrace.sweep.events import Event, HostRetried, HostStarted
from fleettrace.sweep.retry import pause_s, retryable
from fleettrace.sweep.settings import SweepSettings
from tests.sweep.fakes import FakeTransport, sweep_of

REFUSED = HostError(HostState.UNREACHABLE, "connection-refused", "connection refused on port 22")
DENIED = HostError(HostState.AUTH_FAILED, "auth-failed", "login refused")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "pause_s", lambda attempt: 0.01 * attempt)


@pytest.mark.parametrize("code", ["connection-refused", "banner-closed", "kex-timeout", "dns-timeout", "bastion-lost"])
def test_transient_login_failures_are_retryable(code: str) -> None:
    assert retryable(HostError(HostState.UNREACHABLE, code, ""))


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (HostState.UNREACHABLE, "no-route"),
        (HostState.UNREACHABLE, "connect-timeout"),
        (HostState.UNREACHABLE, "dns-failed"),
        (HostState.UNREACHABLE, "not-ssh"),
        (HostState.UNREACHABLE, "auth-timeout"),
        (HostState.AUTH_FAILED, "auth-failed"),
        (HostState.HOST_KEY, "host-key-changed"),
        (HostState.BECOME_FAILED, "become-timeout"),
    ],
)
def test_decisions_of_a_host_are_not_retryable(state: HostState, code: str) -> None:
    assert not retryable(HostError(state, code, ""))


def test_pauses_are_random_and_double() -> None:
    assert [pause_s(attempt, lambda low, _: low) for attempt in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert [pause_s(attempt, lambda _, high: high) for attempt in (1, 2, 3)] == [2.0, 4.0, 8.0]


def attempts(transport: FakeTransport, name: str) -> int:
    return transport.log.count((name, "connect"))


def test_transient_failure_is_retried() -> None:
    transport = FakeTransport(refused={"a": REFUSED}, lets_in_after={"a": 2})
    events: list[Event] = []
    [host] = sweep_of(transport, ["a"], SweepSettings(retries=2), events).run().hosts
    assert host.state is HostState.NO_INSTANCES
    assert attempts(transport, "a") == 3
    assert [event.attempt for event in events if isinstance(event, HostRetried)] == [1, 2]
    assert sum(isinstance(event, HostStarted) for event in events) == 1


def test_host_fails_after_the_last_attempt() -> None:
    transport = FakeTransport(refused={"a": REFUSED})
    [host] = sweep_of(transport, ["a"], SweepSettings(retries=2), []).run().hosts
    assert attempts(transport, "a") == 3
    assert host.error is not None
    assert (host.error.code, host.error.message) == ("connection-refused", "connection refused on port 22 (3 attempts)")


@pytest.mark.parametrize(("error", "retries"), [(DENIED, 2), (REFUSED, 0)])
def test_other_failures_get_one_attempt(error: HostError, retries: int) -> None:
    transport = FakeTransport(refused={"a": error})
    [host] = sweep_of(transport, ["a"], SweepSettings(retries=retries), []).run().hosts
    assert attempts(transport, "a") == 1
    assert host.error is not None
    assert host.error.message == error.message


def test_connection_lost_after_login_is_not_retried() -> None:
    lost = HostError(HostState.UNREACHABLE, "connection-lost", "the connection broke while a script ran")
    transport = FakeTransport(breaks={"a": lost})
    [host] = sweep_of(transport, ["a"], SweepSettings(retries=2), []).run().hosts
    assert attempts(transport, "a") == 1
    assert host.state is HostState.UNREACHABLE


def test_waiting_retry_occupies_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "pause_s", lambda _attempt: 0.3)
    names = [f"cache-{number}" for number in range(20)]
    transport = FakeTransport(refused=dict.fromkeys(names[:10], REFUSED))
    result = sweep_of(transport, names, SweepSettings(forks=1, retries=1), []).run()
    order = [name for name, what in transport.log if what == "connect"]
    assert order == [*names, *names[:10]]
    assert [host.state for host in result.hosts] == [HostState.UNREACHABLE] * 10 + [HostState.NO_INSTANCES] * 10


def test_deadline_does_not_wait_for_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "pause_s", lambda _attempt: 3600.0)
    transport = FakeTransport(refused={"a": REFUSED})
    result = sweep_of(transport, ["a", "b"], SweepSettings(deadline_s=0.3), []).run()
    assert [host.state for host in result.hosts] == [HostState.UNREACHABLE, HostState.NO_INSTANCES]
    assert attempts(transport, "a") == 1
