"""Hosts that exist in memory only: for who is swept when, where no kernel has a say."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.summary.run import RunInfo
from fleettrace.sweep.engine import Sweep
from fleettrace.sweep.events import Event
from fleettrace.sweep.settings import HostTask, SweepSettings
from fleettrace.transport.interface import Chunk, Limits, Stream, Target

__all__ = ["EMPTY_NODE", "FakeConnection", "FakeTransport", "sweep_of"]

EMPTY_NODE = b"".join(
    b"%b\0%b\0" % record
    for record in (
        (b"kernel", b"6.1.0"),
        (b"arch", b"x86_64"),
        (b"uid", b"0"),
        (b"possible", b"0-1"),
        (b"netns", b"net:[4026531840]"),
        (b"lockdown", b""),
        (b"tracefs", b"yes"),
        (b"timeout", b"yes"),
        (b"unshare", b"yes"),
        (b"bpftrace", b"bpftrace v0.17.0"),
        (b"version", b"#1 SMP PREEMPT_DYNAMIC Debian 6.1.0"),
        (b"caps", b"000001ffffffffff"),
        (b"paranoid", b"3"),
        (b"btf", b"yes"),
        (b"headers", b"no"),
        (b"devfd", b"yes"),
        (b"hidepid", b""),
        (b"preempt", b"none (voluntary) full"),
        (b"preempt-boot", b""),
        (b"preempt-built", b""),
        (b"direct", b"yes"),
        (b"pidns", b"pid:[4026531836]"),
        (b"boot", b""),
        (b"end", b"0"),
    )
)
"""What the look around says of a node without memcached."""


class FakeExecution:
    """A script that prints its node's report when it is let go."""

    def __init__(self, transport: FakeTransport, name: str) -> None:
        self._transport = transport
        self._name = name
        self.exit_status: int | None = None

    def __iter__(self) -> Iterator[Chunk]:
        with self._transport.counted():
            self._transport.wait(self._name)
        self.exit_status = 0
        yield Chunk(Stream.OUT, self._transport.reports.get(self._name, EMPTY_NODE))

    def stop(self) -> None:
        self._transport.note(self._name, "stopped")

    def end_within(self, seconds: float) -> None:
        assert seconds > 0

    def close(self) -> None:
        return


class FakeConnection:
    """A connection that notes when it is closed; a script that waits then fails."""

    def __init__(self, transport: FakeTransport, name: str) -> None:
        self._transport = transport
        self._name = name

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> FakeExecution:
        assert script
        assert limits.seconds > 0
        del keep_shell
        return FakeExecution(self._transport, self._name)

    def close(self) -> None:
        self._transport.note(self._name, "closed")
        self._transport.closed.add(self._name)


@dataclass
class FakeTransport:
    """Hosts that answer at once, but for those that are held."""

    refused: dict[str, HostError] = field(default_factory=dict)
    """Hosts that cannot be logged in to, and why."""
    lets_in_after: dict[str, int] = field(default_factory=dict)
    """How many logins such a host refuses before it takes one."""
    breaks: dict[str, HostError] = field(default_factory=dict)
    """Hosts whose scripts end in this."""
    stuck_logins: frozenset[str] = frozenset()
    """Hosts whose login never ends."""
    held: frozenset[str] = frozenset()
    """Hosts whose scripts do not end until the connection is closed."""
    slow_s: float = 0.0
    """Seconds that every script takes."""
    reports: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, target: Target) -> FakeConnection:
        self.note(target.name, "connect")
        patience = self.lets_in_after.get(target.name)
        if target.name in self.refused and (patience is None or self.log.count((target.name, "connect")) <= patience):
            raise self.refused[target.name]
        if target.name in self.stuck_logins:
            time.sleep(3600)
        return FakeConnection(self, target.name)

    def close(self) -> None:
        return

    def note(self, name: str, what: str) -> None:
        with self._lock:
            self.log.append((name, what))

    @contextmanager
    def counted(self) -> Iterator[None]:
        """While a script runs."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self._lock:
                self.at_once -= 1

    def wait(self, name: str) -> None:
        time.sleep(self.slow_s)
        if name in self.breaks:
            raise self.breaks[name]
        while name in self.held:
            if name in self.closed:
                raise HostError(HostState.UNREACHABLE, "connection-closed", "the connection is closed")
            time.sleep(0.005)


def sweep_of(transport: FakeTransport, names: list[str], settings: SweepSettings, heard: list[Event]) -> Sweep:
    """A sweep of these hosts, whose events go to `heard`."""
    tasks = [HostTask(name, Target(name), transport) for name in names]
    info = RunInfo("run-1", datetime.now(UTC), "all", settings.duration_s, "0")
    return Sweep(tasks, settings, info, BinaryCatalog(None), heard.append)
