"""No local user of a node can read a trace's program, which has the nonce that marks its output."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.detach import collect, leave, remove
from fleettrace.node.discovery import discover
from fleettrace.node.loading import LoadVerdict, load_program
from fleettrace.node.planning import plan_instances
from fleettrace.node.trace_script import probe_targets
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.transport.interface import Connection, Limits, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import memcached

pytestmark = pytest.mark.lab

SNOOP = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /mnt/proc/*/exe /run/fleettrace-*/script 2>/dev/null"
AS_OTHER_USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", SNOOP]


@pytest.fixture
def node() -> Iterator[Connection]:
    with closing(LocalTransport().connect(Target("here"))) as connection:
        yield connection


@pytest.fixture(params=["as it is", "stripped"])
def binary(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    copy = tmp_path / "memcached"
    tmp_path.chmod(0o755)
    for directory in tmp_path.parents[:2]:
        directory.chmod(0o755)
    copy.write_bytes(memcached_binary().read_bytes())
    copy.chmod(0o755)
    if request.param == "stripped":
        subprocess.run(["strip", "-s", str(copy)], check=True)
    return copy


def trace_of(node: Connection, pid: int, bpftrace: list[str], duration_s: float = 1.0) -> HostTrace:
    found = discover(node, ["bpftrace"], "host")
    [instance] = [one for one in found.instances if one.pid == pid]
    planned = plan_instances(node, BinaryCatalog(None), found.facts, [instance], ProbeOptions())
    assert planned[0].plan is not None
    version = found.facts.bpftrace
    assert version is not None
    layout = key_layout((version.major, version.minor, version.patch))
    return HostTrace(bpftrace, [(instance, planned[0].plan)], layout, TraceSettings(duration_s))


@contextmanager
def snooping(nonce: str) -> Iterator[list[bool]]:
    """A user without rights reads all that he can meanwhile, again and again; gives whether `nonce` was in it."""
    seen: list[bool] = []
    over = Event()

    def snoop() -> None:
        while not over.is_set():
            read = subprocess.run(AS_OTHER_USER, capture_output=True, check=False, timeout=60).stdout
            assert b"memcached" in read
            seen.append(nonce.encode() in read)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(snoop)
        try:
            yield seen
        finally:
            over.set()
        running.result()


def test_nonce_of_trace_is_unreadable(node: Connection, binary: Path) -> None:
    with memcached(binary) as (pid, _):
        trace = trace_of(node, pid, ["bpftrace"])
        with snooping(trace.nonce) as seen:
            end = trace.read(node.start(trace.script(), trace.limits))
    assert end.complete
    assert len(seen) > 3
    assert not any(seen)


def test_nonce_of_detached_trace_is_unreadable(node: Connection) -> None:
    with memcached(memcached_binary()) as (pid, _):
        trace = trace_of(node, pid, ["bpftrace"])
        with snooping(trace.nonce) as seen:
            directory = leave(node, trace.script(), 0, 60)
            end = trace.read(collect(node, directory, 60))
            remove(node, directory)
    assert end.complete
    assert len(seen) > 3
    assert not any(seen)


def test_loaded_program_is_unreadable(node: Connection) -> None:
    with memcached(memcached_binary()) as (pid, _):
        trace = trace_of(node, pid, ["bpftrace"])
        with snooping("@ready_load") as seen:
            load = load_program(
                node, ["bpftrace"], probe_targets(trace._script.plans), key_layout((0, 17, 0)), TraceSettings(1.0)
            )
    assert load.verdict is LoadVerdict.LOADED
    assert len(seen) > 3
    assert not any(seen)


def test_nonce_is_unreadable_behind_a_wrapper(node: Connection) -> None:
    with memcached(memcached_binary()) as (pid, _):
        trace = trace_of(node, pid, ["env", "bpftrace"])
        with snooping(trace.nonce) as seen:
            end = trace.read(node.start(trace.script(), trace.limits))
    assert end.complete
    assert not any(seen)


def test_a_command_without_standard_input_hides_it_too(node: Connection, tmp_path: Path) -> None:
    wrapper = tmp_path / "bpftrace"
    wrapper.write_text('#!/bin/sh\nexec bpftrace "$@" </dev/null\n')
    wrapper.chmod(0o755)
    with memcached(memcached_binary()) as (pid, connect):
        trace = trace_of(node, pid, [str(wrapper)], 2.0)
        client = connect()
        execution = node.start(trace.script(), trace.limits)
        trace._on_start = lambda: [client.ascii(f"get k{number}", b"END") for number in range(23)]  # type: ignore[assignment]
        with snooping(trace.nonce) as seen:
            end = trace.read(execution)
    assert len(seen) > 3
    assert not any(seen)
    assert end.summaries[pid].total == 23


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox ash"])
def test_every_shell_starts_and_stops_it_alike(node: Connection, shell: str, tmp_path: Path) -> None:
    with memcached(memcached_binary()) as (pid, connect):
        client = connect()
        trace = trace_of(node, pid, ["bpftrace"], 30.0)
        script = tmp_path / "script"
        script.write_bytes(trace.script())
        execution = node.start(f"exec {shell} {script}".encode(), Limits(60, 1 << 20))

        def started() -> None:
            client.ascii("get k", b"END")
            execution.stop()

        trace._on_start = started
        began = time.monotonic()
        end = trace.read(execution)
    assert time.monotonic() - began < 20
    assert not end.complete
    assert not end.broken
    assert end.summaries[pid].total == 1
