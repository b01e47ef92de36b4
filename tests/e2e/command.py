"""Run the real command: start it, wait for its progress, send it signals, and collect its end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from fleettrace.errors import HostState
from fleettrace.lab.fleet import Lab
from fleettrace.sweep.events import Phase

__all__ = ["REPOSITORY", "Command", "Done", "environment", "on_lab", "run"]

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""Seconds to wait for any event: ten times the usual time, since the machine may be busy."""


def environment(**changes: str) -> dict[str, str]:
    """Return the environment without fleettrace's variables but the tests' own history, and with these changes."""
    kept = "FLEETTRACE_STORE"
    others = {name: value for name, value in os.environ.items() if name == kept or not name.startswith("FLEETTRACE_")}
    return {**others, "PYTHONPATH": str(REPOSITORY), **changes}


def on_lab(lab: Lab, *more: str) -> list[str]:
    """Return the options of a run on a lab's fleet."""
    return ["-i", str(lab.inventory), "--ssh-config", str(lab.ssh_config), *more]


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a command: exit code, stdout and stderr."""

    status: int
    out: bytes
    err: str

    @property
    def report(self) -> Any:
        """Return the JSON report on stdout."""
        return json.loads(self.out)

    def host(self, name: str) -> Any:
        """Return one host of the report."""
        return next(host for host in self.report["hosts"] if host["host"] == name)


class Command:
    """A running `fleettrace`. Leaving the block kills it if it still runs."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        terminal: bool = False,
        variables: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
        program: Sequence[str] = (sys.executable, "-m", "fleettrace"),
    ) -> None:
        """Start the command. `inside` is the beginning of a command line that runs the rest, such as nsenter(1)."""
        self._controller: int | None = None
        follower: int | None = None
        if terminal:
            self._controller, follower = pty.openpty()
        self._process = subprocess.Popen(
            [*inside, *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if follower is None else follower,
            stderr=subprocess.PIPE,
            env=environment(**(variables or {})),
            start_new_session=True,
        )
        if follower is not None:
            os.close(follower)
        self._lines: list[str] = []
        self._out = bytearray()
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True),
            threading.Thread(target=self._collect, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Return the controller's process id."""
        return self._process.pid

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            with self._changed:
                self._lines.append(line.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._changed.notify_all()

    def _collect(self) -> None:
        descriptor = self._controller if self._process.stdout is None else self._process.stdout.fileno()
        assert descriptor is not None
        while True:
            try:
                data = os.read(descriptor, 65536)
            except OSError:  # a terminal fails so after its other end was closed
                return
            if not data:
                return
            self._out += data

    def wait_for(self, lines: Iterable[str], *, seconds: float = PATIENCE_S) -> None:
        """Wait until stderr has each of these lines, after the prefix `fleettrace: `."""
        missing = {f"fleettrace: {line}" for line in lines}
        deadline = time.monotonic() + seconds
        with self._changed:
            while missing := missing - set(self._lines):
                remaining = deadline - time.monotonic()
                ended = self._process.poll() is not None and not self._readers[0].is_alive()
                if remaining <= 0 or ended:
                    raise AssertionError(f"stderr lacks {sorted(missing)}: {self._lines}")
                self._changed.wait(min(remaining, 0.2))

    def wait_for_trace(self, *hosts: str) -> None:
        """Wait until requests are counted on all these hosts. Needs `-v`."""
        self.wait_for_phase(Phase.TRACE, *hosts)

    def wait_for_phase(self, phase: Phase, *hosts: str, seconds: float = PATIENCE_S) -> None:
        """Wait until all these hosts have reached the phase. Needs `-v`."""
        self.wait_for((f"{host}: {phase}" for host in hosts), seconds=seconds)

    def wait_for_any_trace(self, *hosts: str, seconds: float = PATIENCE_S) -> None:
        """Wait until requests are counted on one of these hosts. Needs `-v`."""
        deadline = time.monotonic() + seconds
        while not any(self.has_printed(f"{host}: {Phase.TRACE}") for host in hosts):
            assert time.monotonic() < deadline, f"no trace on {hosts}: {self._lines}"
            time.sleep(0.05)

    def has_printed(self, line: str) -> bool:
        """Return whether stderr has this line, after the prefix `fleettrace: `."""
        with self._changed:
            return f"fleettrace: {line}" in self._lines

    def wait_for_line(self, beginning: str, *, seconds: float = PATIENCE_S) -> None:
        """Wait until stderr has a line that begins so, after the prefix `fleettrace: `."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not any(line.startswith(f"fleettrace: {beginning}") for line in self._lines):
                assert time.monotonic() < deadline, f"stderr lacks {beginning!r}: {self._lines}"
                self._changed.wait(0.2)

    def has_finished(self, *hosts: str) -> bool:
        """Return whether any of these hosts has ended with the state `ok`. Needs `-v`."""
        return any(self.has_printed(f"{host}: {HostState.OK}") for host in hosts)

    def signal(self, number: signal.Signals) -> None:
        """Send the controller a signal."""
        self._process.send_signal(number)

    def finish(self, *, seconds: float = 2 * PATIENCE_S) -> Done:
        """Wait for the command's end and return it."""
        status = self._process.wait(timeout=seconds)
        for reader in self._readers:
            reader.join(timeout=5)
        return Done(status, bytes(self._out), "\n".join(self._lines))

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        if self._controller is not None:
            os.close(self._controller)


def run(*arguments: str, **variables: str) -> Done:
    """Run a command to its end and return it."""
    with Command(arguments, variables=variables) as command:
        return command.finish()
