"""The load generator: sends requests to memcached over plain sockets and records them as the truth.

`send` carries out given plans and returns when every answer has arrived: tests of exactness call it after the probes
are attached, and it returns before the trace ends. `BackgroundLoad` sends at a rate for a time in its own process,
which ends when that time is over or its parent has ended.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from fleettrace.errors import FleettraceError
from fleettrace.lab.profile import Drawer, Profile
from fleettrace.lab.protocol import Command, ProtocolError
from fleettrace.lab.truth import TracedInstance, Truth

__all__ = ["BackgroundLoad", "Client", "Flow", "Order", "send"]

PIPELINE = 16 * 1024
"""Bytes sent before the answers are read: a socket's buffers hold that much even if memcached reads nothing."""
TICK = 0.05
MAX_SECONDS = 3600.0


class Connection:
    """One connection to a memcached instance, for one protocol."""

    def __init__(self, address: str, port: int, timeout: float) -> None:
        self.socket = socket.create_connection((address, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb", buffering=65536)

    def line(self) -> bytes:
        text = self.input.readline()
        if not text.endswith(b"\n"):
            raise ConnectionError("memcached closed the connection")
        return text.removesuffix(b"\r\n")

    def exactly(self, size: int) -> bytes:
        data: bytes = self.input.read(size)
        if len(data) != size:
            raise ConnectionError("memcached closed the connection")
        return data

    def close(self) -> None:
        self.input.close()
        self.socket.close()


class Client:
    """Sends commands to one memcached instance and counts the answered ones in `truth`. Not thread-safe."""

    def __init__(self, instance: TracedInstance, address: str, *, timeout: float = 30.0) -> None:
        self.instance = instance
        self.address = address
        self.timeout = timeout
        self.truth = Truth()
        self.connections: dict[bool, Connection] = {}

    def send(self, commands: Sequence[Command]) -> None:
        """Send the commands, pipelined, and check every answer. Raises `FleettraceError` when one fails."""
        try:
            batch: list[tuple[Command, bytes]] = []
            size = 0
            for command in commands:
                data = command.encode()
                if batch and (size + len(data) > PIPELINE or command.binary != batch[0][0].binary):
                    self._exchange(batch)
                    batch, size = [], 0
                batch.append((command, data))
                size += len(data)
            if batch:
                self._exchange(batch)
        except (OSError, ProtocolError) as error:
            raise FleettraceError(
                f"lab: the load on {self.instance.host}:{self.instance.port} failed: {error}"
            ) from error

    def _exchange(self, batch: Sequence[tuple[Command, bytes]]) -> None:
        binary = batch[0][0].binary
        if binary not in self.connections:
            self.connections[binary] = Connection(self.address, self.instance.port, self.timeout)
        connection = self.connections[binary]
        connection.socket.sendall(b"".join(data for _, data in batch))
        reader = (connection.line, connection.exactly)
        for command, _ in batch:
            command.check(reader)
            self.truth.add(self.instance, command.verb, command.keys)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        while self.connections:
            self.connections.popitem()[1].close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def send(plans: Mapping[TracedInstance, Sequence[Command]], addresses: Mapping[str, str], *, threads: int = 8) -> Truth:
    """Carry out one plan per instance and return the truth after every command has been answered.

    `addresses` maps a host's name to its address. Raises `FleettraceError` when any command fails.
    """

    def one(instance: TracedInstance) -> Truth:
        with Client(instance, addresses[instance.host]) as client:
            client.send(plans[instance])
            return client.truth

    truth = Truth()
    with ThreadPoolExecutor(max_workers=max(1, min(threads, len(plans)))) as pool:
        for part in pool.map(one, plans):
            truth.update(part)
    return truth


@dataclass(frozen=True, slots=True)
class Flow:
    """Steady traffic on one instance: about `rate` requests per second, drawn from `profile`."""

    instance: TracedInstance
    address: str
    profile: Profile
    rate: float


@dataclass(frozen=True, slots=True)
class Order:
    """The work of a background load. Late keys appear after the share `profile.late_after` of `seconds`."""

    flows: Sequence[Flow]
    seconds: float
    seed: int = 1
    max_requests: int = 50_000_000
    errors: list[str] = field(default_factory=list)


def carry_out(order: Order, stopped: Callable[[], bool]) -> Truth:
    """Send the flows until the time is over, `max_requests` are sent, or `stopped()` is true. Return the truth.

    A flow that fails (because its memcached was killed, say) ends, with a line in `order.errors`.
    """
    seconds = min(order.seconds, MAX_SECONDS)
    running = {
        index: (flow, Client(flow.instance, flow.address), Drawer(flow.profile, order.seed + index))
        for index, flow in enumerate(order.flows)
    }
    truth = Truth()
    owed = dict.fromkeys(running, 0.0)
    sent = 0
    start = last = time.monotonic()
    while running and (now := time.monotonic()) < start + seconds and sent < order.max_requests:
        if stopped():
            break
        for index, (flow, client, drawer) in list(running.items()):
            # A busy machine falls behind: catch up by one second's requests at most.
            owed[index] = min(owed[index] + flow.rate * (now - last), flow.rate)
            commands = []
            while owed[index] >= 1:
                commands.append(drawer.draw(late=now >= start + seconds * flow.profile.late_after))
                owed[index] -= len(commands[-1].keys)
                sent += len(commands[-1].keys)
            try:
                client.send(commands)
            except FleettraceError as error:
                order.errors.append(str(error))
                client.close()
                truth.update(running.pop(index)[1].truth)
        last = now
        time.sleep(max(0.0, TICK - (time.monotonic() - now)))
    for _, client, _ in running.values():
        client.close()
        truth.update(client.truth)
    return truth


class BackgroundLoad:
    """A process that carries out an order and writes the truth to a file when it ends.

    It ends early at the end of its standard input: when its parent calls `stop`, and when its parent dies.
    """

    def __init__(self, order: Order, truth_file: Path) -> None:
        self.truth_file = truth_file
        self.errors_file = truth_file.with_suffix(".errors")
        self._truth: Truth | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fleettrace.lab.load", str(truth_file), str(self.errors_file)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self.process.stdin is not None
        pickle.dump(order, self.process.stdin)
        self.process.stdin.flush()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def errors(self) -> list[str]:
        """Return the errors of single flows; complete after the process has ended."""
        return self.errors_file.read_text().splitlines() if self.errors_file.exists() else []

    def wait(self, seconds: float) -> Truth:
        """Wait until the process ends and return the truth. Raises `FleettraceError` after `seconds`."""
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise FleettraceError(f"lab: the load generator still runs after {seconds:.0f} s") from error
        return self._read()

    def stop(self) -> Truth:
        """Stop the process and return the truth. Idempotent."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return self.wait(30)

    def kill(self) -> None:
        """Kill the process, without a truth. Idempotent."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def _read(self) -> Truth:
        if self._truth is None:
            if not self.truth_file.exists():
                raise FleettraceError(f"lab: the load generator failed ({self.process.returncode}) and wrote no truth")
            self._truth = Truth.from_json(self.truth_file.read_text())
        return self._truth


def main() -> None:
    """Run the background process: read a pickled order from the parent's pipe, and write the truth and the errors."""
    truth_file, errors_file = Path(sys.argv[1]), Path(sys.argv[2])
    order: Order = pickle.load(sys.stdin.buffer)
    truth = carry_out(order, lambda: bool(select.select([sys.stdin], [], [], 0)[0]))
    errors_file.write_text("".join(f"{error}\n" for error in order.errors))
    scratch = truth_file.with_suffix(".new")
    scratch.write_text(truth.to_json())
    scratch.replace(truth_file)


if __name__ == "__main__":
    main()
