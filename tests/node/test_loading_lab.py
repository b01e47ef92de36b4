"""A node's kernel is asked whether it loads a program, and nothing that runs is touched by that."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.lab.build import memcached_binary
from fleettrace.node.loading import Load, LoadVerdict, load_program, load_script
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget
from fleettrace.probes.selection import choose
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import memcached
from tests.sweep.refusing import refusing

pytestmark = pytest.mark.lab

BOUNDS = TraceSettings(5.0)


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    with memcached(memcached_binary()) as (number, _):
        yield number


def load(pid: int, bpftrace: Sequence[str] = ("bpftrace",), options: ProbeOptions = ProbeOptions()) -> Load:  # noqa: B008
    plan = choose(analyse(Path(f"/proc/{pid}/exe").read_bytes()), options)
    connection = LocalTransport().connect(Target("here"))
    try:
        return load_program(connection, bpftrace, [ProbeTarget(plan, (pid,))], key_layout((0, 17, 0)), BOUNDS)
    finally:
        connection.close()


@pytest.mark.parametrize("options", [ProbeOptions(), ProbeOptions(misses=True, sizes=True)])
def test_our_programs_load(pid: int, options: ProbeOptions) -> None:
    assert load(pid, options=options) == Load(LoadVerdict.LOADED)


def test_loading_puts_no_probe_into_a_running_process(pid: int) -> None:
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            # A process with a uprobe has this mapping, for good.
            seen.update(line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert load(pid).verdict is LoadVerdict.LOADED
    finally:
        done.set()
        watcher.join()
    assert "[uprobes]" not in seen


def test_a_refusal_gives_the_reason(pid: int, tmp_path: Path) -> None:
    outcome = load(pid, (refusing(tmp_path, "@m_"),), ProbeOptions(misses=True))
    assert outcome.verdict is LoadVerdict.REFUSED
    assert "BPF stack limit" in outcome.reason


def test_load_recognizes_bpftrace_with_other_files(pid: int, tmp_path: Path) -> None:
    elsewhere = tmp_path / "bpftrace"
    # Like a container's: its mounts are not the node's, so a path of the node's is not there.
    elsewhere.write_text(f'#!/bin/sh\nexec nsenter -t {os.getpid()} -m bpftrace "$@"\n')
    elsewhere.chmod(0o755)
    assert load(pid, (str(elsewhere),)).verdict is LoadVerdict.UNSEEN


def test_a_bpftrace_that_fails_otherwise_is_no_refusal(pid: int, tmp_path: Path) -> None:
    broken = tmp_path / "bpftrace"
    broken.write_text("#!/bin/sh\necho 'ERROR: no such luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    assert load(pid, (str(broken),)) == Load(LoadVerdict.FAILED, "ERROR: no such luck")


def test_load_leaves_nothing_without_controller(pid: int, tmp_path: Path) -> None:
    slow = tmp_path / "bpftrace"
    takes_input = "case $(head -c 100) in *takes_input*) echo fleettrace_takes_input; exit ;; esac"
    slow.write_text(f"#!/bin/sh\n{takes_input}\necho $$ >{tmp_path}/pid\nexec sleep 300\n")
    slow.chmod(0o755)
    plan = choose(analyse(Path(f"/proc/{pid}/exe").read_bytes()))
    script = load_script((str(slow),), [ProbeTarget(plan, (pid,))], key_layout((0, 17, 0)), BOUNDS)
    path = tmp_path / "load.sh"
    path.write_bytes(script)
    with subprocess.Popen(["sh", path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
