"""A detached trace leaves out, on the node, what cannot be attached, and traces the rest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.binding import RefusedError
from fleettrace.node.detach import collect, leave, read_clock, remove
from fleettrace.node.discovery import discover
from fleettrace.node.planning import Planned, plan_instances
from fleettrace.node.trace_end import TraceEnd
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.transport.interface import Connection, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import Client, memcached

pytestmark = pytest.mark.lab


def spoil(planned: Planned, accident: str) -> Planned:
    """Return the plan of an instance that cannot be attached."""
    assert planned.plan is not None
    if accident == "it ended":
        os.kill(planned.instance.pid, signal.SIGKILL)
        os.waitpid(planned.instance.pid, 0)
        return planned
    if accident == "it runs another binary":
        return replace(
            planned,
            instance=replace(planned.instance, binary=replace(planned.instance.binary, sha256="0" * 64)),
        )
    # Beyond the end of the file.
    return replace(planned, plan=replace(planned.plan, attach_point="0xfffffff", overlay=None))


@contextmanager
def asking(client: Client) -> Iterator[list[tuple[int, int]]]:
    """Send one request after the other; yield when each was sent and answered, on the monotonic clock."""
    times: list[tuple[int, int]] = []
    over = Event()

    def ask() -> None:
        while not over.wait(0.02):
            began = time.monotonic_ns()
            client.ascii("get key", b"END")
            times.append((began, time.monotonic_ns()))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask)
        try:
            yield times
        finally:
            over.set()
        running.result()


def traced(node: Connection, planned: Sequence[Planned], version: tuple[int, int, int], shell: str) -> TraceEnd:
    """Return the end of a trace that was left on the node and collected."""
    clock = read_clock(node)
    trace = HostTrace(
        ["bpftrace"],
        [(each.instance, each.plan) for each in planned if each.plan],
        key_layout(version),
        TraceSettings(1.0),
        begin_ns=clock.monotonic_ns,
    )
    script = trace.script()
    if shell != "sh":
        script = b'[ -n "$again" ] || { again=yes exec %b "$0"; }\n' % shell.encode() + script
    directory = leave(node, script, 0, 60)
    try:
        return trace.read(collect(node, directory, 60))
    finally:
        remove(node, directory)
        assert not Path(directory).exists()


@pytest.mark.parametrize(
    ("accident", "code", "shell", "others"),
    [
        ("it ended", "memcached-ended", "sh", 1),
        ("it runs another binary", "binary-changed", "bash", 1),
        ("the kernel refuses it", "attach-refused", "sh", 1),
        ("the kernel refuses it", "attach-refused", "bash", 1),
        ("the kernel refuses it", "attach-refused", "busybox ash", 1),
        ("it ended", "memcached-ended", "sh", 0),
        ("the kernel refuses it", "attach-refused", "sh", 0),
    ],
)
def test_detached_trace_leaves_out_failing_instances(
    accident: str, code: str, shell: str, others: int, tmp_path: Path
) -> None:
    copy = tmp_path / "memcached"
    shutil.copy(memcached_binary(), copy)
    subprocess.run(["strip", "-s", str(copy)], check=True)
    with ExitStack() as stack:
        node = stack.enter_context(closing(LocalTransport().connect(Target("here"))))
        paths = [copy, *[memcached_binary()] * others]
        started = [stack.enter_context(memcached(path)) for path in paths]
        pids = [pid for pid, _ in started]
        found = discover(node, ["bpftrace"], "host")
        instances = sorted((one for one in found.instances if one.pid in pids), key=lambda one: pids.index(one.pid))
        planned = plan_instances(node, BinaryCatalog(None), found.facts, instances, ProbeOptions())
        planned[0] = spoil(planned[0], accident)
        version = found.facts.bpftrace
        assert version is not None
        numbers = (version.major, version.minor, version.patch)
        if not others:
            with pytest.raises(RefusedError) as caught:
                traced(node, planned, numbers, shell)
            assert {pid: failure.code for pid, failure in caught.value.failures.items()} == {pids[0]: code}
            return
        with asking(started[1][1]()) as times:
            end = traced(node, planned, numbers, shell)
    assert end.complete
    assert {pid: failure.code for pid, failure in end.refused.items()} == {pids[0]: code}
    ended = end.start_ns + round(end.window_s * 1e9)
    inside = sum(end.start_ns <= began and answered <= ended for began, answered in times)
    touching = sum(end.start_ns <= answered and began <= ended for began, answered in times)
    assert 0 < inside <= end.summaries[pids[1]].total <= touching
