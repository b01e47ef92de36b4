"""Every host is swept, a bounded number at once, and a stop loses nothing that a host has."""

from __future__ import annotations

import threading
import time

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.summary.run import RunResult
from fleettrace.sweep import engine
from fleettrace.sweep.events import Event, HostFinished, HostStarted, RunFinished, RunStarted, StopRequested
from fleettrace.sweep.settings import SweepSettings, printed_entries
from fleettrace.sweep.stop import Reason
from tests.sweep.fakes import FakeTransport, sweep_of

NAMES = [f"cache-{number:03}" for number in range(20)]


def states(result: RunResult) -> dict[str, HostState]:
    return {host.host: host.state for host in result.hosts}


def test_every_host_is_swept_and_told_of_in_the_order_of_the_tasks() -> None:
    heard: list[Event] = []
    result = sweep_of(FakeTransport(), NAMES, SweepSettings(forks=3), heard).run()
    assert [host.host for host in result.hosts] == NAMES
    assert set(states(result).values()) == {HostState.NO_INSTANCES}
    assert isinstance(heard[0], RunStarted)
    assert isinstance(heard[-1], RunFinished)
    assert sorted(event.host for event in heard if isinstance(event, HostStarted)) == NAMES
    assert sorted(event.host for event in heard if isinstance(event, HostFinished)) == NAMES
    assert result.info.finished is not None


def test_no_more_hosts_are_at_work_than_forks() -> None:
    transport = FakeTransport(slow_s=0.02)
    sweep_of(transport, NAMES, SweepSettings(forks=3), []).run()
    assert transport.most_at_once == 3


def test_a_run_of_no_hosts_ends() -> None:
    assert sweep_of(FakeTransport(), [], SweepSettings(), []).run().hosts == []


def test_a_host_that_cannot_be_reached_costs_no_other() -> None:
    error = HostError(HostState.AUTH_FAILED, "auth-failed", "login refused")
    result = sweep_of(FakeTransport(refused={NAMES[3]: error}), NAMES, SweepSettings(forks=2), []).run()
    [failed] = [host for host in result.hosts if host.state is not HostState.NO_INSTANCES]
    assert failed.host == NAMES[3]
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("auth-failed", "login refused")


def test_a_mistake_of_ours_with_one_host_costs_no_other() -> None:
    class Faulty(FakeTransport):
        def note(self, name: str, what: str) -> None:
            if name == NAMES[0]:
                raise ZeroDivisionError("oops")
            super().note(name, what)

    result = sweep_of(Faulty(), NAMES, SweepSettings(forks=2), []).run()
    assert states(result)[NAMES[0]] is HostState.TRACE_FAILED
    assert result.hosts[0].error is not None
    assert "report it" in result.hosts[0].error.message
    assert len(result.hosts) == len(NAMES)


def test_a_garbled_answer_is_the_hosts_own_failure() -> None:
    result = sweep_of(FakeTransport(reports={"a": b"nonsense"}), ["a", "b"], SweepSettings(), []).run()
    assert states(result) == {"a": HostState.TRACE_FAILED, "b": HostState.NO_INSTANCES}
    assert result.hosts[0].error is not None
    assert result.hosts[0].error.code == "discovery-garbled"


@pytest.mark.parametrize(
    ("reason", "state", "code"),
    [
        (Reason.INTERRUPTED, HostState.INTERRUPTED, "interrupted"),
        (Reason.TERMINATED, HostState.INTERRUPTED, "interrupted"),
        (Reason.DEADLINE, HostState.TIMEOUT, "deadline"),
        (Reason.FAILURES, HostState.SKIPPED, "max-fail"),
    ],
)
def test_a_stop_names_its_reason_at_every_host_that_is_not_done(reason: Reason, state: HostState, code: str) -> None:
    transport = FakeTransport(held=frozenset(NAMES[1:]))
    heard: list[Event] = []
    sweep = sweep_of(transport, NAMES, SweepSettings(forks=4), heard)
    threading.Timer(0.2, sweep.order_stop, [reason]).start()
    result = sweep.run()
    assert states(result) == {NAMES[0]: HostState.NO_INSTANCES, **dict.fromkeys(NAMES[1:], state)}
    assert {host.error.code for host in result.hosts if host.error} == {code}
    assert [event.reason for event in heard if isinstance(event, StopRequested)] == [reason]
    assert sweep.stop.reason is reason


def test_the_deadline_stops_the_run() -> None:
    sweep = sweep_of(FakeTransport(held=frozenset("b")), ["a", "b"], SweepSettings(deadline_s=0.3), [])
    assert states(sweep.run()) == {"a": HostState.NO_INSTANCES, "b": HostState.TIMEOUT}


def test_a_stop_does_not_wait_for_logins_that_do_not_end() -> None:
    transport = FakeTransport(stuck_logins=frozenset("bc"))
    begun = time.monotonic()
    result = sweep_of(transport, ["a", "b", "c"], SweepSettings(deadline_s=0.3, forks=2), []).run()
    assert time.monotonic() - begun < engine.GRACE_S / 2
    assert states(result) == {"a": HostState.NO_INSTANCES, "b": HostState.TIMEOUT, "c": HostState.TIMEOUT}
    assert [host.host for host in result.hosts] == ["a", "b", "c"]


def test_the_first_reason_stays() -> None:
    sweep = sweep_of(FakeTransport(held=frozenset("a")), ["a"], SweepSettings(), [])
    sweep.order_stop(Reason.TERMINATED)
    sweep.order_stop(Reason.INTERRUPTED)
    sweep.run()
    assert sweep.stop.reason is Reason.TERMINATED


def test_every_connection_is_closed() -> None:
    transport = FakeTransport()
    sweep_of(transport, NAMES, SweepSettings(forks=5), []).run()
    assert transport.closed == set(NAMES)


@pytest.mark.parametrize(("hosts", "entries"), [(0, 2000), (1, 2000), (100, 1000), (10_000, 200)])
def test_the_fleet_prints_a_bounded_number_of_entries_a_second(hosts: int, entries: int) -> None:
    assert printed_entries(hosts) == entries
