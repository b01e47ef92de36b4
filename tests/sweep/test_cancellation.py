"""A cancellation stops the traces, which then print what they have, and closes all other connections."""

from __future__ import annotations

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.sweep.cancellation import Cancellation, Reason
from tests.sweep.fakes import FakeConnection, FakeExecution, FakeTransport


def test_request_stops_traces_and_closes_other_connections() -> None:
    transport, cancellation = FakeTransport(), Cancellation()
    tracing, discovering = FakeConnection(transport, "tracing"), FakeConnection(transport, "looking")
    with cancellation.watch(tracing), cancellation.watch(discovering):
        cancellation.tracing(tracing, FakeExecution(transport, "tracing"))
        cancellation.request(Reason.INTERRUPTED)
        assert transport.log == [("tracing", "stopped"), ("looking", "closed")]
        cancellation.give_up()
        assert ("tracing", "closed") in transport.log


def test_trace_started_after_the_request_is_stopped() -> None:
    transport, cancellation = FakeTransport(), Cancellation()
    connection = FakeConnection(transport, "late")
    with cancellation.watch(connection):
        cancellation.request(Reason.DEADLINE)
        cancellation.tracing(connection, FakeExecution(transport, "late"))
    assert ("late", "stopped") in transport.log


def test_login_after_the_request_is_closed() -> None:
    transport, cancellation = FakeTransport(), Cancellation()
    cancellation.request(Reason.DEADLINE)
    with pytest.raises(HostError) as caught, cancellation.watch(FakeConnection(transport, "late")):
        raise AssertionError("the block must not run")
    assert caught.value.state is HostState.TIMEOUT
    assert transport.log == [("late", "closed")]


def test_open_login_makes_the_cancellation_busy() -> None:
    cancellation = Cancellation()
    assert not cancellation.busy
    with cancellation.watch(FakeConnection(FakeTransport(), "a")):
        assert cancellation.busy
    assert not cancellation.busy


def test_broken_connection_does_not_protect_the_next() -> None:
    class Broken(FakeConnection):
        def close(self) -> None:
            raise EOFError

    transport, cancellation = FakeTransport(), Cancellation()
    with cancellation.watch(Broken(transport, "broken")), cancellation.watch(FakeConnection(transport, "working")):
        cancellation.request(Reason.DEADLINE)
        cancellation.give_up()
        assert transport.log == [("working", "closed")] * 2
