"""One connection per bastion, whoever asks first: hosts behind it share it, across threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import paramiko
from fabric import Connection

from fleettrace.errors import HostError, HostState
from fleettrace.transport.fabric.login import hang_up
from fleettrace.transport.fabric.tunnel import Tunnel
from fleettrace.transport.shortage import shortage
from fleettrace.transport.ssh_config import Route

__all__ = ["Bastions"]

Opener = Callable[[Route, float], Connection]
"""Logs in to a route before a deadline."""


class Bastions:
    """A pool of connections by route. A failure is everybody's who waited for it, and then forgotten."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._connections: dict[Route, Future[Connection]] = {}
        self._closed = False

    def channel(self, hop: Route, host: str, port: int, deadline: float) -> Tunnel:
        """A way through the bastion `hop` to a host. Raises `HostError` that names the bastion."""
        try:
            connection = self._connection(hop, deadline)
        except TimeoutError:
            raise _failed(
                "bastion-timeout", f"bastion {hop.address} was not reached within the connect timeout"
            ) from None
        except HostError as error:
            code = error.code if error.code.startswith("bastion-") else f"bastion-{error.code}"
            raise HostError(error.state, code, f"bastion {hop.address}: {error.message}") from None
        try:
            left = max(0.01, deadline - time.monotonic())
            return Tunnel(
                connection.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=left)
            )
        except Exception as error:
            raise _explain(error, hop, f"{host}:{port}", deadline) from None

    def _connection(self, hop: Route, deadline: float) -> Connection:
        with self._lock:
            future = self._connections.get(hop)
            mine = future is None or _is_dead(future)
            if future is None or mine:
                future = self._connections[hop] = Future()
        if mine:
            self._open(hop, future, deadline)
        return future.result(timeout=max(0.0, deadline - time.monotonic()))

    def _open(self, hop: Route, future: Future[Connection], deadline: float) -> None:
        try:
            connection = self._opener(hop, deadline)
        except BaseException as error:
            with self._lock:
                if self._connections.get(hop) is future:
                    del self._connections[hop]
            future.set_exception(error)
            return
        with self._lock:
            closed = self._closed
        if closed:
            hang_up(connection)
        future.set_result(connection)

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            self._closed = True
            futures = list(self._connections.values())
            self._connections.clear()
        for future in futures:
            if future.done() and future.exception() is None:
                hang_up(future.result())


def _is_dead(future: Future[Connection]) -> bool:
    return future.done() and future.exception() is None and not future.result().is_connected


def _explain(error: Exception, hop: Route, there: str, deadline: float) -> HostError:
    # RFC 4254, 5.1: 1 is "administratively prohibited", 2 "connect failed".
    if isinstance(error, paramiko.ChannelException) and error.code == 1:
        return _failed(
            "bastion-forbids",
            f"bastion {hop.address} does not forward to {there}: AllowTcpForwarding and PermitOpen of its sshd",
        )
    if isinstance(error, paramiko.ChannelException):
        return _failed("bastion-no-route", f"bastion {hop.address} cannot reach {there}: is the host up?")
    if ours := shortage(error):
        return ours
    if time.monotonic() >= deadline:
        return _failed(
            "bastion-no-answer", f"bastion {hop.address} got no answer from {there} within the connect timeout"
        )
    return _failed("bastion-lost", f"the connection to bastion {hop.address} broke")


def _failed(code: str, message: str) -> HostError:
    return HostError(HostState.UNREACHABLE, code, message)
