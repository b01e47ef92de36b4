"""The engine sweeps every host, a bounded number at once, and a cancellation loses nothing that was collected."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter

import pytest

from fleettrace.errors import ConfigError, HostError, HostState
from fleettrace.probes.model import ProbeKind, ProbeOptions
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import Failure, HostResult, RunResult
from fleettrace.sweep import engine
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.detach_model import Detach
from fleettrace.sweep.events import (
    Event,
    HostFinished,
    HostsSkipped,
    HostStarted,
    RunFinished,
    RunStarted,
    StopRequested,
    WaveFinished,
    WaveStarted,
)
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.settings import HostTask, SweepSettings, printed_entries
from fleettrace.sweep.waves import serial
from tests.sweep.fakes import EMPTY_NODE, FakeTransport, sweep_of

NAMES = [f"cache-{number:03}" for number in range(20)]
DENIED = HostError(HostState.AUTH_FAILED, "auth-failed", "login refused")


def states(result: RunResult) -> dict[str, HostState]:
    return {host.host: host.state for host in result.hosts}


def test_every_host_is_swept_and_reported_in_order() -> None:
    events: list[Event] = []
    result = sweep_of(FakeTransport(), NAMES, SweepSettings(forks=3), events).run()
    assert [host.host for host in result.hosts] == NAMES
    assert set(states(result).values()) == {HostState.NO_INSTANCES}
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert sorted(event.host for event in events if isinstance(event, HostStarted)) == NAMES
    assert sorted(event.host for event in events if isinstance(event, HostFinished)) == NAMES
    assert result.info.finished is not None


def test_forks_limit_the_hosts_at_once() -> None:
    transport = FakeTransport(slow_s=0.02)
    sweep_of(transport, NAMES, SweepSettings(forks=3), []).run()
    assert transport.most_at_once == 3


def test_run_of_no_hosts_ends() -> None:
    assert sweep_of(FakeTransport(), [], SweepSettings(), []).run().hosts == []


def test_refused_login_fails_its_host_alone() -> None:
    error = HostError(HostState.AUTH_FAILED, "auth-failed", "login refused")
    result = sweep_of(FakeTransport(refused={NAMES[3]: error}), NAMES, SweepSettings(forks=2), []).run()
    [failed] = [host for host in result.hosts if host.state is not HostState.NO_INSTANCES]
    assert failed.host == NAMES[3]
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("auth-failed", "login refused")


def test_internal_fault_fails_its_host_with_a_traceback() -> None:
    class Faulty(FakeTransport):
        def note(self, name: str, what: str) -> None:
            if name == NAMES[0]:
                raise ZeroDivisionError("oops")
            super().note(name, what)

    events: list[Event] = []
    result = sweep_of(Faulty(), NAMES, SweepSettings(forks=2), events).run()
    assert states(result)[NAMES[0]] is HostState.TRACE_FAILED
    assert result.hosts[0].error is not None
    assert result.hosts[0].error.code == "internal"
    assert len(result.hosts) == len(NAMES)
    traces = {event.host: event.traceback for event in events if isinstance(event, HostFinished)}
    assert [name for name, trace in traces.items() if trace] == [NAMES[0]]
    assert traces[NAMES[0]].endswith("ZeroDivisionError: oops\n")


def test_faulty_ssh_config_fails_its_host_alone() -> None:
    class Faulty(FakeTransport):
        def note(self, name: str, what: str) -> None:
            if name == NAMES[0]:
                raise ConfigError("ProxyJump leads to itself")
            super().note(name, what)

    result = sweep_of(Faulty(), NAMES, SweepSettings(forks=2), []).run()
    assert result.hosts[0].error == Failure("ssh-config", "ProxyJump leads to itself")
    assert len(result.hosts) == len(NAMES)


def test_garbled_answer_fails_its_host_alone() -> None:
    result = sweep_of(FakeTransport(reports={"a": b"nonsense"}), ["a", "b"], SweepSettings(), []).run()
    assert states(result) == {"a": HostState.TRACE_FAILED, "b": HostState.NO_INSTANCES}
    assert result.hosts[0].error is not None
    assert result.hosts[0].error.code == "discovery-garbled"


def test_implausible_answer_fails_its_host_alone() -> None:
    lie = EMPTY_NODE.replace(b"0-1", b"0-" + b"9" * 5000)
    result = sweep_of(FakeTransport(reports={"a": lie}), ["a", "b"], SweepSettings(), []).run()
    assert states(result) == {"a": HostState.TRACE_FAILED, "b": HostState.NO_INSTANCES}
    assert result.hosts[0].error is not None
    assert result.hosts[0].error.code == "implausible-output"


@pytest.mark.parametrize(
    ("reason", "state", "code"),
    [
        (Reason.INTERRUPTED, HostState.INTERRUPTED, "interrupted"),
        (Reason.TERMINATED, HostState.INTERRUPTED, "interrupted"),
        (Reason.DEADLINE, HostState.TIMEOUT, "deadline"),
    ],
)
def test_cancel_fails_every_unfinished_host_with_its_reason(reason: Reason, state: HostState, code: str) -> None:
    transport = FakeTransport(held=frozenset(NAMES[1:]))
    events: list[Event] = []
    sweep = sweep_of(transport, NAMES, SweepSettings(forks=4), events)
    threading.Timer(0.2, sweep.cancel, [reason]).start()
    result = sweep.run()
    assert states(result) == {NAMES[0]: HostState.NO_INSTANCES, **dict.fromkeys(NAMES[1:], state)}
    assert {host.error.code for host in result.hosts if host.error} == {code}
    assert [event.reason for event in events if isinstance(event, StopRequested)] == [reason]
    assert sweep.cancellation.reason is reason


def test_deadline_ends_the_run() -> None:
    sweep = sweep_of(FakeTransport(held=frozenset("b")), ["a", "b"], SweepSettings(deadline_s=0.3), [])
    assert states(sweep.run()) == {"a": HostState.NO_INSTANCES, "b": HostState.TIMEOUT}


def test_cancelled_run_does_not_wait_for_stuck_logins() -> None:
    transport = FakeTransport(stuck_logins=frozenset("bc"))
    begun = time.monotonic()
    result = sweep_of(transport, ["a", "b", "c"], SweepSettings(deadline_s=0.3, forks=2), []).run()
    assert time.monotonic() - begun < engine.GRACE_S / 2
    assert states(result) == {"a": HostState.NO_INSTANCES, "b": HostState.TIMEOUT, "c": HostState.TIMEOUT}
    assert [host.host for host in result.hosts] == ["a", "b", "c"]


def test_first_cancellation_reason_counts() -> None:
    sweep = sweep_of(FakeTransport(held=frozenset("a")), ["a"], SweepSettings(), [])
    sweep.cancel(Reason.TERMINATED)
    sweep.cancel(Reason.INTERRUPTED)
    sweep.run()
    assert sweep.cancellation.reason is Reason.TERMINATED


@pytest.mark.parametrize(
    "settings",
    [
        SweepSettings(),
        SweepSettings(options=ProbeOptions(ProbeKind.WATCH)),
        SweepSettings(detach=Detach(60.0)),
        SweepSettings(detach=Detach(60.0, resumed={})),
        SweepSettings(detach=Detach(60.0, resumed={}), options=ProbeOptions(ProbeKind.WATCH)),
    ],
    ids=["attached", "watch", "detached", "resumed", "resumed watch"],
)
def test_every_tracer_sweeps_hosts_without_memcached(settings: SweepSettings) -> None:
    result = sweep_of(FakeTransport(), NAMES[:3], settings, []).run()
    assert states(result) == dict.fromkeys(NAMES[:3], HostState.NO_INSTANCES)
    assert result.warnings == []


def test_every_connection_is_closed() -> None:
    transport = FakeTransport()
    sweep_of(transport, NAMES, SweepSettings(forks=5), []).run()
    assert transport.closed == set(NAMES)


def test_wave_starts_after_the_one_before() -> None:
    events: list[Event] = []
    sweep = sweep_of(FakeTransport(), NAMES[:7], SweepSettings(forks=4, serial=serial("1,3")), events)
    assert [host.host for host in sweep.run().hosts] == NAMES[:7]
    delivered = [
        event for event in events if isinstance(event, WaveStarted | HostStarted | HostFinished | WaveFinished)
    ]
    at_work: list[str] = []
    sizes = []
    for event in delivered:
        match event:
            case WaveStarted(_, _, hosts):
                assert not at_work
                sizes.append(hosts)
            case HostStarted(host):
                at_work.append(host)
            case HostFinished(host):
                at_work.remove(host)
    assert sizes == [1, 3, 3]
    assert [event.failed for event in delivered if isinstance(event, WaveFinished)] == [0, 0, 0]


def test_failed_canary_skips_the_other_hosts() -> None:
    transport, events = FakeTransport(refused={NAMES[0]: DENIED}), list[Event]()
    sweep = sweep_of(transport, NAMES[:5], SweepSettings(serial=serial("1,100%")), events)
    result = sweep.run()
    assert states(result) == {NAMES[0]: HostState.AUTH_FAILED, **dict.fromkeys(NAMES[1:5], HostState.SKIPPED)}
    assert {host.error.message for host in result.hosts[1:] if host.error} == {
        "not started: 1 of 1 host of the first wave failed"
    }
    assert {name for name, _ in transport.log} == {NAMES[0]}
    assert [event.hosts for event in events if isinstance(event, HostsSkipped)] == [4]
    assert sorted(event.host for event in events if isinstance(event, HostFinished)) == NAMES[:5]


def test_failure_in_a_later_wave_skips_no_host() -> None:
    transport = FakeTransport(refused={NAMES[2]: DENIED})
    result = sweep_of(transport, NAMES[:5], SweepSettings(serial=serial("1,2")), []).run()
    assert [host.host for host in result.hosts if not host.complete] == [NAMES[2]]


def test_max_fail_skips_hosts_that_are_not_started() -> None:
    refused = dict.fromkeys(NAMES[:3], DENIED)
    transport = FakeTransport(refused=refused, slow_s=0.2)
    result = sweep_of(transport, NAMES, SweepSettings(forks=5, max_fail=0.1), []).run()
    counted = Counter(states(result).values())
    assert counted[HostState.AUTH_FAILED] == 3
    # When the third host failed, four threads were busy, each with its first or second host.
    assert 2 <= counted[HostState.NO_INSTANCES] <= 4
    assert counted[HostState.SKIPPED] == 17 - counted[HostState.NO_INSTANCES]
    begun = {name for name, _ in transport.log}
    assert {name for name, state in states(result).items() if state is HostState.SKIPPED} == set(NAMES) - begun


def test_max_fail_with_one_thread_is_exact() -> None:
    transport = FakeTransport(refused={NAMES[1]: DENIED})
    result = sweep_of(transport, NAMES[:9], SweepSettings(forks=1, max_fail=0.0), []).run()
    assert {name for name, _ in transport.log} == set(NAMES[:2])
    assert Counter(states(result).values())[HostState.SKIPPED] == 7


def test_cancelled_run_starts_no_later_wave() -> None:
    transport = FakeTransport(held=frozenset(NAMES[:1]))
    sweep = sweep_of(transport, NAMES[:4], SweepSettings(serial=serial("1"), deadline_s=0.3), [])
    assert set(states(sweep.run()).values()) == {HostState.TIMEOUT}
    assert {name for name, _ in transport.log} == {NAMES[0]}


def test_summaries_are_freed_once_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Big]] = []
    most = 0

    class Big(Summary):
        __slots__ = ("__weakref__",)

    def traced(_tracer: AttachedTracer, task: HostTask) -> HostOutcome:
        nonlocal most
        summary = Big(total=1)
        alive.append(weakref.ref(summary))
        most = max(most, sum(one() is not None for one in alive))
        return HostOutcome(HostResult(task.name, HostState.OK), {"1@1": summary})

    monkeypatch.setattr(AttachedTracer, "run", traced)
    names = [f"cache-{number}" for number in range(300)]
    sweep = sweep_of(FakeTransport(), names, SweepSettings(forks=4), [])
    sweep.subscriber = lambda _event: time.sleep(0.001)
    result = sweep.run()
    assert result.fleet.total == 300
    assert most <= 4 + 1
    assert [one() for one in alive if one() is not None] == []


@pytest.mark.parametrize(("hosts", "entries"), [(0, 2000), (1, 2000), (100, 1000), (10_000, 200)])
def test_printed_entries_per_second_are_bounded(hosts: int, entries: int) -> None:
    assert printed_entries(hosts) == entries
