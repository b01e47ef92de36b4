"""One switch ends everything: traces are asked to print, whatever does not trace is let go."""

from __future__ import annotations

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.sweep.cancellation import Cancellation, Reason
from tests.sweep.fakes import FakeConnection, FakeExecution, FakeTransport


def test_a_stop_stops_traces_and_closes_other_connections() -> None:
    transport, stop = FakeTransport(), Cancellation()
    tracing, looking = FakeConnection(transport, "tracing"), FakeConnection(transport, "looking")
    with stop.watch(tracing), stop.watch(looking):
        stop.tracing(tracing, FakeExecution(transport, "tracing"))
        stop.request(Reason.INTERRUPTED)
        assert transport.log == [("tracing", "stopped"), ("looking", "closed")]
        stop.give_up()
        assert ("tracing", "closed") in transport.log


def test_a_trace_that_starts_after_the_stop_is_stopped_too() -> None:
    transport, stop = FakeTransport(), Cancellation()
    connection = FakeConnection(transport, "late")
    with stop.watch(connection):
        stop.request(Reason.DEADLINE)
        stop.tracing(connection, FakeExecution(transport, "late"))
    assert ("late", "stopped") in transport.log


def test_a_login_that_ends_after_the_stop_is_closed_at_once() -> None:
    transport, stop = FakeTransport(), Cancellation()
    stop.request(Reason.DEADLINE)
    with pytest.raises(HostError) as caught, stop.watch(FakeConnection(transport, "late")):
        raise AssertionError("it must not get this far")
    assert caught.value.state is HostState.TIMEOUT
    assert transport.log == [("late", "closed")]


def test_whoever_is_logged_in_keeps_it_busy() -> None:
    stop = Cancellation()
    assert not stop.busy
    with stop.watch(FakeConnection(FakeTransport(), "a")):
        assert stop.busy
    assert not stop.busy


def test_a_broken_connection_does_not_save_the_next_one() -> None:
    class Broken(FakeConnection):
        def close(self) -> None:
            raise EOFError

    transport, stop = FakeTransport(), Cancellation()
    with stop.watch(Broken(transport, "broken")), stop.watch(FakeConnection(transport, "sound")):
        stop.request(Reason.DEADLINE)
        stop.give_up()
        assert transport.log == [("sound", "closed")] * 2
