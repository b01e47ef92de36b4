"""Connections to bastions: one each, opened by the first host that needs it and shared across threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import paramiko
from fabric import Connection

from fleettrace.errors import HostError
from fleettrace.transport.exhaustion import exhaustion_error
from fleettrace.transport.fabric.login import hang_up
from fleettrace.transport.fabric.tunnel import Tunnel
from fleettrace.transport.login_options import LoginOptions
from fleettrace.transport.ssh_errors import SshFailure, on_bastion

__all__ = ["Bastions"]

# RFC 4254, section 5.1.
_ADMINISTRATIVELY_PROHIBITED = 1

Opener = Callable[[LoginOptions, float], Connection]
"""Logs in to a bastion before a deadline."""


class Bastions:
    """A pool of connections, by the options of their login.

    All hosts that wait for a login get its failure; the next host tries again.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._connections: dict[LoginOptions, Future[Connection]] = {}
        self._closed = False

    def tunnel(self, bastion: LoginOptions, host: str, port: int, deadline: float) -> Tunnel:
        """Open a tunnel through `bastion` to a host. Raises `HostError`, which names the bastion."""
        try:
            connection = self._connection(bastion, deadline)
        except TimeoutError:
            raise SshFailure.BASTION_TIMEOUT.error(
                f"bastion {bastion.address} did not answer within the connect timeout"
            ) from None
        except HostError as error:
            raise on_bastion(f"bastion {bastion.address}", error) from None
        try:
            remaining = max(0.01, deadline - time.monotonic())
            return Tunnel(
                connection.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=remaining)
            )
        except Exception as error:
            raise _tunnel_error(error, bastion, f"{host}:{port}", deadline) from None

    def _connection(self, bastion: LoginOptions, deadline: float) -> Connection:
        with self._lock:
            future = self._connections.get(bastion)
            mine = future is None or _is_dead(future)
            if future is None or mine:
                future = self._connections[bastion] = Future()
        if mine:
            self._open(bastion, future, deadline)
        return future.result(timeout=max(0.0, deadline - time.monotonic()))

    def _open(self, bastion: LoginOptions, future: Future[Connection], deadline: float) -> None:
        try:
            connection = self._opener(bastion, deadline)
        except BaseException as error:
            with self._lock:
                if self._connections.get(bastion) is future:
                    del self._connections[bastion]
            future.set_exception(error)
            return
        with self._lock:
            closed = self._closed
        if closed:
            hang_up(connection)
        future.set_result(connection)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._closed = True
            futures = list(self._connections.values())
            self._connections.clear()
        for future in futures:
            if future.done() and future.exception() is None:
                hang_up(future.result())


def _is_dead(future: Future[Connection]) -> bool:
    return future.done() and future.exception() is None and not future.result().is_connected


def _tunnel_error(error: Exception, bastion: LoginOptions, host: str, deadline: float) -> HostError:
    subject = f"bastion {bastion.address}"
    if isinstance(error, paramiko.ChannelException) and error.code == _ADMINISTRATIVELY_PROHIBITED:
        return SshFailure.BASTION_FORBIDS.error(f"{subject} does not forward to {host}")
    if isinstance(error, paramiko.ChannelException):
        return SshFailure.BASTION_NO_ROUTE.error(f"{subject} cannot reach {host}")
    if exhausted := exhaustion_error(error):
        return exhausted
    if time.monotonic() >= deadline:
        return SshFailure.BASTION_NO_ANSWER.error(f"{subject} got no answer from {host} within the connect timeout")
    return SshFailure.BASTION_LOST.error(f"the connection to {subject} broke")
