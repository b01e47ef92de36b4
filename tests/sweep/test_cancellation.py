"""One switch ends everything: traces are asked to print, whatever does not trace is let go."""

from __future__ import annotations

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.sweep.cancellation import Cancellation, Reason
from tests.sweep.fakes import FakeConnection, FakeExecution, FakeTransport


def test_a_stop_stops_traces_and_closes_other_connections() -> None:
    transport, cancellation = FakeTransport(), Cancellation()
    tracing, looking = FakeConnection(transport, "tracing"), FakeConnection(transport, "looking")
    with cancellation.watch(tracing), cancellation.watch(looking):
        cancellation.tracing(tracing, FakeExecution(transport, "tracing"))
        cancellation.request(Reason.INTERRUPTED)
        assert transport.log == [("tracing", "stopped"), ("looking", "closed")]
        cancellation.give_up()
        assert ("tracing", "closed") in transport.log


def test_a_trace_that_starts_after_the_stop_is_stopped_too() -> None:
    transport, cancellation = FakeTransport(), Cancellation()
    connection = FakeConnection(transport, "late")
    with cancellation.watch(connection):
        cancellation.request(Reason.DEADLINE)
        cancellation.tracing(connection, FakeExecution(transport, "late"))
    assert ("late", "stopped") in transport.log


def test_a_login_that_ends_after_the_stop_is_closed_at_once() -> None:
    transport, cancellation = FakeTransport(), Cancellation()
    cancellation.request(Reason.DEADLINE)
    with pytest.raises(HostError) as caught, cancellation.watch(FakeConnection(transport, "late")):
        raise AssertionError("it must not get this far")
    assert caught.value.state is HostState.TIMEOUT
    assert transport.log == [("late", "closed")]


def test_whoever_is_logged_in_keeps_it_busy() -> None:
    cancellation = Cancellation()
    assert not cancellation.busy
    with cancellation.watch(FakeConnection(FakeTransport(), "a")):
        assert cancellation.busy
    assert not cancellation.busy


def test_a_broken_connection_does_not_save_the_next_one() -> None:
    class Broken(FakeConnection):
        def close(self) -> None:
            raise EOFError

    transport, cancellation = FakeTransport(), Cancellation()
    with cancellation.watch(Broken(transport, "broken")), cancellation.watch(FakeConnection(transport, "sound")):
        cancellation.request(Reason.DEADLINE)
        cancellation.give_up()
        assert transport.log == [("sound", "closed")] * 2
