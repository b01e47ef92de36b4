"""The lab's interface to the operating system: commands, process identities, locks.

A process is identified by its pid and its start time: the kernel reuses pids, and a lab must not kill other processes.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fleettrace.errors import FleettraceError

__all__ = [
    "Process",
    "all_pids",
    "children_of",
    "file_lock",
    "kill_all",
    "process",
    "processes_in_netns",
    "run",
    "wait_until",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Process:
    """The identity of a process: its pid and start time (clock ticks since boot, field 22 of /proc/PID/stat)."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Return whether the process still runs. A zombie does not."""
        return process(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def process(pid: int) -> Process | None:
    """Return the process that has this pid now, or None when there is none or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else Process(pid, int(fields[19]))


def children_of(pid: int) -> list[int]:
    """Return the pids of the children of a process's main thread."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def all_pids() -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            yield int(entry.name)


def processes_in_netns(inodes: Iterable[int]) -> list[Process]:
    """Return every live process in the network namespaces with these inode numbers (`stat` of /run/netns/NAME)."""
    links = {f"net:[{inode}]" for inode in inodes}
    found = []
    for pid in all_pids():
        try:
            inside = str(Path(f"/proc/{pid}/ns/net").readlink()) in links
        except OSError:
            continue
        if inside and (one := process(pid)) is not None:
            found.append(one)
    return found


def kill_all(find: Callable[[], Sequence[Process]], *, seconds: float = 5.0) -> None:
    """Send SIGKILL to the processes that `find` returns, until it returns none.

    Raises `FleettraceError` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while running := find():
        if time.monotonic() > deadline:
            pids = ", ".join(str(one.pid) for one in running)
            raise FleettraceError(f"lab: processes {pids} do not end after SIGKILL")
        for one in running:
            one.signal(signal.SIGKILL)
        time.sleep(0.01)


def run(
    command: Sequence[str | Path],
    *,
    input: str | None = None,  # noqa: A002 - subprocess's own name
    check: bool = True,
    seconds: float = 60.0,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> str:
    """Run a command to its end and return its output.

    Raises `FleettraceError` when it fails (unless `check` is false) or takes longer than `seconds`.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [str(word) for word in command],
            input=input or "",
            text=True,
            errors="replace",
            capture_output=True,
            timeout=seconds,
            check=False,
            cwd=cwd,
            env=env,
        )
    except FileNotFoundError as error:
        raise FleettraceError(f"lab: {name} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise FleettraceError(f"lab: {name} did not end within {seconds:.0f} s") from error
    if check and done.returncode != 0:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        shown = " ".join(str(word) for word in command[:6])
        raise FleettraceError(f"lab: `{shown}` failed ({done.returncode}): {' / '.join(lines[-3:])}")
    return done.stdout


def wait_until(ask: Callable[[], T | None], failure: str, *, seconds: float = 10.0, pause: float = 0.01) -> T:
    """Call `ask` until its result is true, and return it. Raises `FleettraceError` with `failure` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise FleettraceError(f"lab: {failure} within {seconds:.0f} s")
        time.sleep(pause)
    return answer


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, waiting for it. The kernel releases it if the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
