"""A memcached that becomes another program on SIGUSR2 and keeps its pid and start time (execve(2))."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fleettrace.lab.system import wait_until
from fleettrace.transport.interface import Connection, Execution, Limits, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.e2e.local import ADDRESS, answers, free_port

__all__ = ["Before", "Exchangeable", "exchangeable"]

_SOURCE = """
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static char **given;
static void become(int number) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, 0);
    for (int fd = 3; fd < 1024; fd++) close(fd);
    execv(getenv("NEXT"), given);
}
__attribute__((constructor)) static void begin(int argc, char **argv) { given = argv; signal(SIGUSR2, become); }
"""


class Exchangeable:
    """A memcached that can be exchanged. Calling the object exchanges it."""

    def __init__(self, pid: int, port: int, following: Path) -> None:
        self.pid = pid
        self.port = port
        self.following = following

    def __call__(self) -> None:
        """Exchange the program, and wait until the next one serves."""
        os.kill(self.pid, signal.SIGUSR2)
        wait_until(lambda: Path(f"/proc/{self.pid}/exe").samefile(self.following), "the program is not exchanged")
        wait_until(lambda: answers(self.port), "the next memcached does not answer")


@contextmanager
def exchangeable(directory: Path, first: Path, following: Path) -> Iterator[Exchangeable]:
    """Run `first`, which becomes `following` when called; its files are in `directory`."""
    library = directory / "become.so"
    (directory / "become.c").write_text(_SOURCE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, directory / "become.c"], check=True)
    port = free_port()
    server = subprocess.Popen(
        [str(first), "-u", "root", "-l", ADDRESS, "-p", str(port), "-t", "2", "-m", "64"],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LD_PRELOAD": str(library), "NEXT": str(following)},
    )
    try:
        wait_until(lambda: answers(port), f"memcached on port {port} does not start")
        yield Exchangeable(server.pid, port, following)
    finally:
        server.kill()
        server.wait()


class Before(LocalTransport):
    """Runs scripts on this machine, and calls `event` before the first trace."""

    def __init__(self, event: Callable[[], None]) -> None:
        self._event = event

    def connect(self, target: Target) -> Connection:  # type: ignore[override]
        """Return a connection to this machine."""
        return _Connection(super().connect(target), self._event)


class _Connection:
    def __init__(self, inner: Connection, event: Callable[[], None]) -> None:
        self._inner = inner
        self._event: Callable[[], None] | None = event

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Execution:
        if b"interval:ms:" in script and self._event is not None:
            event, self._event = self._event, None
            event()
        return self._inner.start(script, limits, keep_shell=keep_shell)

    def close(self) -> None:
        self._inner.close()
