"""One window of an endpoint against servers that lie: it ends in time, and claims nothing that it cannot know."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from fleettrace.errors import HostError
from fleettrace.node.endpoint_trace import EndpointTrace, ask_stats, ask_watch
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import TraceSettings
from fleettrace.transport.endpoint.port import MemcachedPort

LINE = b"ts=%d.1 gid=7 type=item_get key=a status=found clsid=1 cfd=24 size=3\n"
STATS = b"STAT pid 7\r\nSTAT version 1.6.18\r\nSTAT cmd_get %d\r\nSTAT cmd_set 0\r\nEND\r\n"
Behaviour = Callable[[socket.socket], None]


def counting(step: int) -> Behaviour:
    """Answer every `stats`, with a counter that grows by `step`."""

    def behave(server: socket.socket) -> None:
        count = 0
        while server.recv(100):
            server.sendall(STATS % count)
            count += step

    return behave


def saying(text: bytes, *, endless: bool = False) -> Behaviour:
    def behave(server: socket.socket) -> None:
        server.sendall(text)
        while endless:
            server.sendall(text)
        server.recv(100)

    return behave


def traced(stats: Behaviour, watch: Behaviour | None, seconds: float = 0.5) -> tuple[EndpointTrace, TraceEnd]:
    """Trace servers that behave so."""
    with ExitStack() as stack:

        def port(behaviour: Behaviour) -> MemcachedPort:
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            stack.callback(ours.close)

            def work() -> None:
                with suppress(OSError):
                    behaviour(theirs)

            threading.Thread(target=work, daemon=True).start()
            return MemcachedPort(ours)

        watched = port(watch or counting(0))
        trace = EndpointTrace(port(stats), watched, TraceSettings(seconds), 7, watching=watch is not None)
        trace.sample()
        return trace, trace.run(lambda: None)


def test_window_has_counts_and_coverage() -> None:
    now = int(time.time())
    trace, end = traced(counting(0), saying(LINE % now * 5 + b"skipped=3\n"))
    [summary] = end.summaries.values()
    assert (summary.total, summary.absent, trace.skipped) == (5, 3, 3)
    assert end.complete and end.alive == {7}


def test_closed_watch_cuts_the_window() -> None:
    _, end = traced(counting(0), lambda server: server.close(), seconds=30)
    assert (end.complete, end.broken, end.error_text) == (False, True, "memcached closed the connection")


@pytest.mark.parametrize("text", [b"x" * 65536, b"\0\xff\n" * 20000, b"ts=1.1 gid=1 type=item_get key=" + b"k" * 65536])
def test_flood_of_garbage_ends_in_time(text: bytes) -> None:
    started = time.monotonic()
    _, end = traced(counting(0), saying(text, endless=True))
    assert sum(summary.total for summary in end.summaries.values()) == 0
    assert time.monotonic() - started < 5


def test_impossible_counters_discard_the_result() -> None:
    with pytest.raises(HostError) as caught:
        traced(counting(1 << 40), None)
    assert caught.value.code == "implausible-output"


def test_impossible_number_of_skipped_lines_is_discarded() -> None:
    with pytest.raises(HostError) as caught:
        traced(counting(0), saying(b"skipped=99999999999999999\n"))
    assert caught.value.code == "implausible-output"


def test_counters_alone_give_no_key() -> None:
    _, end = traced(counting(100), None)
    [summary] = end.summaries.values()
    assert summary.total > 0 and summary.absent == summary.total and summary.keys == {}


def test_silent_counters_alone_are_an_error() -> None:
    def once(server: socket.socket) -> None:
        server.recv(100)
        server.sendall(STATS % 0)
        time.sleep(5)

    with pytest.raises(HostError) as caught:
        traced(once, None)
    assert caught.value.code == "watch-failed"


def test_stopped_window_reads_its_late_lines() -> None:
    def late(server: socket.socket) -> None:
        time.sleep(0.3)
        server.sendall(LINE % (int(time.time()) - 1))
        server.recv(100)

    ours, theirs = socket.socketpair()
    counted, server = socket.socketpair()
    for behaviour, end in ((late, theirs), (counting(0), server)):
        threading.Thread(target=behaviour, args=(end,), daemon=True).start()
    with ours, theirs, counted, server:
        trace = EndpointTrace(MemcachedPort(counted), MemcachedPort(ours), TraceSettings(60), pid=7)
        trace.sample()
        result = trace.run(trace.stop)
    assert [summary.total for summary in result.summaries.values()] == [1]
    assert not result.complete and not result.broken


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"CLIENT_ERROR unauthenticated\r\n", "endpoint-authentication"),
        (b"ERROR\r\n", "endpoint-not-memcached"),
        (b"HTTP/1.1 400 Bad\r\n\r\nEND\r\n", "endpoint-not-memcached"),
    ],
)
def test_other_servers_are_named(answer: bytes, code: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        with pytest.raises(HostError) as caught:
            ask_stats(MemcachedPort(ours), 1)
    assert caught.value.code == code


def test_refusal_of_watch_is_memcacheds_text() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"CLIENT_ERROR \x1b[2Jno\r\n")
        assert ask_watch(MemcachedPort(ours)) == "CLIENT_ERROR \x1b[2Jno"
