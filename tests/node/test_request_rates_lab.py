"""One request is one count, whatever bytes its key holds and however often memcached looks it up."""

from __future__ import annotations

import base64
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.node.discovery import discover
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeKind, ProbeOptions, TraceSettings
from fleettrace.probes.selection import choose
from fleettrace.summary.key import Key
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.builds import build, installed, stripped
from tests.binary.traffic import Client, memcached

pytestmark = pytest.mark.lab

Connect = Callable[[], Client]
INCR, PLAIN_INCR = struct.pack(">QQI", 1, 7, 60), struct.pack(">QQI", 1, 7, 0xFFFFFFFF)
"""Extras of a binary incr that creates its counter, and of one that does not."""


def run(
    binaries: Sequence[tuple[Path, ProbeOptions]], send: Callable[[Sequence[Connect]], object]
) -> list[dict[Key, object]]:
    """Trace memcached processes with one program under traffic; return the counts of each by key."""
    connection = LocalTransport().connect(Target("here"))
    started = threading.Event()
    with ExitStack() as running:
        served = [running.enter_context(memcached(path)) for path, _ in binaries]
        pids, connects = [pid for pid, _ in served], [connect for _, connect in served]
        found = discover(connection, ["bpftrace"], "host")
        by_pid = {instance.pid: instance for instance in found.instances}
        plans = [
            (by_pid[each], choose(analyse(path.read_bytes()), options))
            for each, (path, options) in zip(pids, binaries, strict=True)
        ]
        version = found.facts.bpftrace
        assert version is not None

        def ask() -> None:
            assert started.wait(60)
            send(connects)

        thread = threading.Thread(target=ask)
        thread.start()
        trace = HostTrace(
            ["bpftrace"],
            plans,
            key_layout((version.major, version.minor, version.patch)),
            TraceSettings(4, printed=5000),
            on_start=started.set,
        )
        end = trace.read(connection.start(trace.script(), trace.limits))
        thread.join()
    connection.close()
    assert not end.implausible
    return [
        {key: (count.requests, count.ops, count.misses) for key, count in end.summaries[each].keys.items()}
        for each in pids
    ]


def counters(connects: Sequence[Connect]) -> None:
    text, packets = connects[0](), connects[0]()
    for index in range(23):
        for _ in range(4):
            text.ascii(f"ma limit:{index} N30 J5")
            packets.binary(0x05, b"rate:%d" % index, INCR)
        text.ascii(f"ma none:{index}")
        packets.binary(0x05, b"gone:%d" % index, PLAIN_INCR)
        # Sent at once, so that the same thread serves both: a store that the client requested.
        text.connection.sendall(b"incr pair 1\r\nset pair 0 0 1\r\n5\r\ndelete pair\r\n")
        for _ in range(3):
            text.stream.readline()


BUILDS = ("plain", "cf-protection", "lto", "distribution")


@pytest.mark.parametrize("which", BUILDS)
@pytest.mark.parametrize("misses", [False, True])
def test_a_counter_that_a_request_creates_counts_once(which: str, misses: bool) -> None:
    binary = installed() if which == "distribution" else stripped(which)
    if binary is None:
        pytest.skip("the distribution's memcached is not installed")
    [counted] = run([(binary, ProbeOptions(misses=misses))], counters)
    truth: dict[Key, object] = {}
    for index in range(23):
        for name in (b"limit", b"rate"):
            truth[Key.whole(b"%b:%d" % (name, index))] = (4, {"arith": 4}, 1 if misses else None)
        for name in (b"none", b"gone"):
            truth[Key.whole(b"%b:%d" % (name, index))] = (1, {"arith": 1}, 1 if misses else None)
    truth[Key.whole(b"pair")] = (69, {"arith": 23, "set": 23, "delete": 23}, 23 if misses else None)
    assert counted == truth


def packed(connects: Sequence[Connect]) -> None:
    text, packets = connects[0](), connects[0]()
    for number in range(1500):
        packets.binary(0x00, b"u" + struct.pack(">Q", number))
    for number in range(23):
        key = base64.b64encode(struct.pack("<IQ", number + 1, 0)).decode()
        text.ascii(f"mg {key} b v")


@pytest.mark.parametrize("symbols", [True, False])
def test_packed_ids_are_distinct_keys(symbols: bool) -> None:
    [counted] = run([(build("plain") if symbols else stripped("plain"), ProbeOptions(misses=True))], packed)
    assert counted == {
        **{Key.whole(b"u" + struct.pack(">Q", number)): (1, {"get": 1}, 1) for number in range(1500)},
        **{Key.whole(struct.pack("<IQ", number + 1, 0)): (1, {"get": 1}, 1) for number in range(23)},
    }


def long_keys(connects: Sequence[Connect]) -> None:
    for connect in connects:
        client = connect()
        for length in (72, 73, 199, 200, 250):
            client.ascii(f"get {'k' * length}", b"END")


def test_lines_of_a_neighbour_leave_every_key_whole() -> None:
    keys, lines = run(
        [(stripped("plain"), ProbeOptions()), (build("cf-protection"), ProbeOptions(ProbeKind.COMMAND))], long_keys
    )
    assert keys == lines == {Key.whole(b"k" * length): (1, {"get": 1}, None) for length in (72, 73, 199, 200, 250)}
