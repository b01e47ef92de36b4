"""No probe is attached to a binary other than the analysed one, and its neighbours are traced."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from fleettrace.errors import FleettraceError
from fleettrace.lab.packages import find_program
from fleettrace.lab.system import wait_until
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.run import InstanceResult
from fleettrace.sweep.attached import AttachedTracer
from fleettrace.sweep.cancellation import Cancellation
from fleettrace.sweep.events import ignore
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.sweep.tracer import TracerContext
from fleettrace.transport.interface import Target
from tests.binary.builds import stripped
from tests.e2e.command import Command
from tests.e2e.exchangeable import Before, Exchangeable, exchangeable
from tests.e2e.local import Served, answers, served
from tests.e2e.test_probe_position import TRAFFIC, private

pytestmark = pytest.mark.lab


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Exchangeable, Served]]:
    """Yield a memcached that can become one of another build, and one that does not change."""
    for name in ("first", "following", "neighbour"):
        (tmp_path / name).mkdir()
    first = private(stripped("plain"), tmp_path / "first")
    following = private(stripped("cf-protection"), tmp_path / "following")
    with (
        exchangeable(tmp_path, first, following) as changing,
        served(tmp_path, private(stripped("plain"), tmp_path / "neighbour")) as neighbour,
    ):
        yield changing, neighbour


def sweep(
    two: tuple[Exchangeable, Served], event: Callable[[], None], bpftrace: str = "bpftrace"
) -> dict[int, InstanceResult]:
    """Sweep both for two seconds and return the results by pid. `event` is called just before the trace starts."""
    pids = {one.pid for one in two}
    task = HostTask("here", Target("here"), Before(event), (bpftrace,), selects=lambda one: one.pid in pids)
    bounds = TraceSettings(2.0)
    context = TracerContext(SweepSettings(2.0), bounds, BinaryCatalog(None), Cancellation(), ignore)
    outcome = AttachedTracer(context).run(task)
    return {one.pid: one for one in outcome.result.instances}


def verdicts(results: dict[int, InstanceResult]) -> dict[int, tuple[str, str | None]]:
    return {pid: (one.state.value, one.error.code if one.error else None) for pid, one in results.items()}


def nothing() -> None:
    """Do nothing."""


def test_unchanged_binary_is_traced(two: tuple[Exchangeable, Served]) -> None:
    changing, neighbour = two
    assert verdicts(sweep(two, nothing)) == {changing.pid: ("ok", None), neighbour.pid: ("ok", None)}


def test_binary_changed_before_the_trace_is_not_probed(two: tuple[Exchangeable, Served]) -> None:
    changing, neighbour = two
    assert verdicts(sweep(two, changing)) == {
        changing.pid: ("trace-failed", "binary-changed"),
        neighbour.pid: ("ok", None),
    }


def test_process_ended_before_the_trace_leaves_neighbours_traced(two: tuple[Exchangeable, Served]) -> None:
    changing, neighbour = two

    def end() -> None:
        os.kill(changing.pid, signal.SIGKILL)
        os.waitid(os.P_PID, changing.pid, os.WEXITED | os.WNOWAIT)

    assert verdicts(sweep(two, end)) == {
        changing.pid: ("trace-failed", "memcached-ended"),
        neighbour.pid: ("ok", None),
    }


@contextmanager
def under_traffic(port: int, pid: int) -> Iterator[None]:
    """Send requests to a memcached, which a misplaced probe would crash, while the block runs."""
    over = Event()
    memcached = Served(pid, port, Path())

    def send() -> None:
        while not over.is_set():
            try:
                memcached.send(TRAFFIC, 100)
            except FleettraceError:
                time.sleep(0.02)

    thread = Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_binary_changed_while_bpftrace_starts_is_not_probed(two: tuple[Exchangeable, Served], tmp_path: Path) -> None:
    """The program changes after all checks, just before bpftrace opens its binary."""
    changing, neighbour = two
    script = tmp_path / "bpftrace"
    script.write_text(
        f"""#!/bin/sh
case "$*" in *--version*) exec bpftrace "$@" ;; esac
# The first call only checks whether bpftrace reads its standard input.
[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exec bpftrace "$@"; }}
kill -USR2 {changing.pid}
until [ /proc/{changing.pid}/exe -ef {shlex.quote(str(changing.following))} ]; do :; done
exec bpftrace "$@"
"""
    )
    script.chmod(0o755)
    with under_traffic(changing.port, changing.pid):
        results = sweep(two, nothing, str(script))
        time.sleep(0.5)
    assert answers(changing.port)
    assert results[neighbour.pid].state.value == "ok"
    changed = results[changing.pid]
    assert changed.error is not None
    # Milliseconds decide whether any process still ran the old binary when its guard checked.
    assert (changed.state.value, changed.requests, changed.error.code) in (
        ("partial", 0, "memcached-ended"),
        ("trace-failed", None, "binary-changed"),
        ("trace-failed", None, "blind"),
    )


@pytest.mark.parametrize("exchanged", [True, False])
def test_code_is_compared_where_no_hash_tool_exists(
    two: tuple[Exchangeable, Served], exchanged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, neighbour = two
    directory = tmp_path / "tools"
    directory.mkdir()
    names = "sh stat awk grep readlink cat ls tr head od uname timeout unshare mount mkdir sleep bpftrace id gzip chmod"
    for name in names.split():
        (directory / name).symlink_to(find_program(name) or name)
    monkeypatch.setenv("PATH", str(directory))
    results = verdicts(sweep(two, changing if exchanged else nothing))
    assert results[neighbour.pid] == ("ok", None)
    assert results[changing.pid] == (("trace-failed", "code-mismatch") if exchanged else ("ok", None))


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
@pytest.mark.parametrize("exchanged", [True, False])
def test_every_shell_binds_the_trace_to_the_binary(
    two: tuple[Exchangeable, Served], exchanged: bool, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, neighbour = two
    directory = tmp_path / "tools"
    directory.mkdir()
    if shell == "busybox":
        subprocess.run([find_program("busybox") or shell, "--install", "-s", directory], check=True)
    else:
        (directory / "sh").symlink_to(find_program(shell) or shell)
    (directory / "bpftrace").symlink_to(find_program("bpftrace") or "bpftrace")
    monkeypatch.setenv("PATH", str(directory) if shell == "busybox" else f"{directory}:{os.environ['PATH']}")
    results = verdicts(sweep(two, changing if exchanged else nothing))
    assert results[neighbour.pid] == ("ok", None)
    assert results[changing.pid] == (("trace-failed", "binary-changed") if exchanged else ("ok", None))


def test_binding_leaves_no_process(two: tuple[Exchangeable, Served]) -> None:
    changing, _ = two

    def holders() -> list[str]:
        inode = Path(f"/proc/{changing.pid}/exe").stat().st_ino
        found = []
        for link in Path("/proc").glob("[0-9]*/fd/5"):
            try:
                if link.stat().st_ino == inode:
                    found.append(str(link))
            except OSError:
                continue
        return found

    sweep(two, nothing)
    wait_until(lambda: not holders(), "a process does not close the binary", seconds=5)


@pytest.mark.parametrize("restarted", [True, False], ids=["overwritten", "only-restarted"])
def test_binary_overwritten_in_place_loses_its_probe(tmp_path: Path, restarted: bool) -> None:
    """`cp new /usr/bin/memcached` does so between the stop and the start of a service."""
    binary = private(stripped("plain"), tmp_path)
    following = stripped("lto" if restarted else "plain").read_bytes()
    with ExitStack() as running:
        first = running.enter_context(served(tmp_path, binary))
        arguments = ["run", "-i", str(first.inventory), "--duration", "20s", "-v", "--output", "json"]
        with Command(arguments) as command:
            command.wait_for_trace("here")
            time.sleep(2.5)
            os.kill(first.pid, signal.SIGKILL)
            os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
            if restarted:
                with binary.open("r+b") as file:
                    file.write(following)
                    file.truncate()
            (tmp_path / "second").mkdir()
            second = running.enter_context(served(tmp_path / "second", binary))
            second.send(TRAFFIC, 100)
            assert second.stats()["pid"] == str(second.pid)
            if not restarted:
                command.signal(signal.SIGINT)
            done = command.finish()
    [instance] = done.host("here")["instances"]
    if restarted:
        assert (instance["state"], instance["error"]["code"]) == ("partial", "trace-cut")
