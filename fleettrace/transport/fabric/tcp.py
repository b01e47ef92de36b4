"""Open a TCP connection within a deadline: DNS, every address of the host, and a code for each failure."""

from __future__ import annotations

import errno
import ipaddress
import queue
import socket
import subprocess
import threading
import time
from typing import Any

from fleettrace.errors import HostError
from fleettrace.transport.exhaustion import exhaustion_error
from fleettrace.transport.ssh_errors import (
    SshFailure,
    connect_failed,
    connect_timeout,
    connection_refused,
    dns_failed,
    dns_timeout,
    no_route,
)

__all__ = ["connect_by_command", "connect_tcp"]

# The kernel notices a peer that vanished after 15 + 3 * 5 seconds, without a thread that has to wake for it.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000))

_Address = tuple[int, Any]


def connect_tcp(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to any of the host's addresses before `deadline` (of `time.monotonic`).

    Raises `HostError` (`unreachable`).
    """
    addresses = _resolve(host, port, deadline)
    failure = SshFailure.CONNECT_TIMEOUT.error(
        "the connect timeout passed before the controller tried to connect", "is the controller overloaded?"
    )
    for number, (family, address) in enumerate(addresses):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise _connect_error(error, port) from None
        try:
            # Each address gets its share of the time, so that one that drops packets leaves some for the next.
            sock.settimeout(remaining / (len(addresses) - number))
            sock.connect(address)
            _set_options(sock)
            return sock
        except OSError as error:
            sock.close()
            failure = _connect_error(error, port)
    raise failure


def connect_by_command(command: str) -> socket.socket:
    """Start the ProxyCommand of ssh_config and return its standard input and output as a socket.

    Raises `HostError` (`proxy-command-failed`).
    """
    try:
        ours, theirs = socket.socketpair()
        with theirs:
            # As OpenSSH runs it, but in /bin/sh and not in the user's shell.
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    except OSError as error:
        raise exhaustion_error(error) or SshFailure.PROXY_COMMAND_FAILED.error(
            f"the ProxyCommand of ssh_config cannot be started ({error.strerror or error})"
        ) from None
    return _CommandSocket(ours, process)


class _CommandSocket(socket.socket):
    """A socket to a process, which ends when the socket is closed."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        super().__init__(sock.family, sock.type, fileno=sock.detach())
        self._process = process

    def close(self) -> None:
        super().close()
        self._process.terminate()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _resolve(host: str, port: int, deadline: float) -> list[_Address]:
    try:
        ipaddress.ip_address(host.partition("%")[0])
        answer = _getaddrinfo(host, port)
    except ValueError:
        answer = _getaddrinfo_before(host, port, deadline)
    if not isinstance(answer, OSError):
        return answer
    if exhausted := exhaustion_error(answer):
        raise exhausted
    if isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN:
        raise dns_timeout(host)
    raise dns_failed(host, answer.strerror)


def _getaddrinfo_before(host: str, port: int, deadline: float) -> list[_Address] | OSError:
    """Run `_getaddrinfo` in a thread, because the C library's resolver takes no deadline."""
    answers: queue.SimpleQueue[list[_Address] | OSError] = queue.SimpleQueue()
    lookup = threading.Thread(target=lambda: answers.put(_getaddrinfo(host, port)), name=f"resolve {host}", daemon=True)
    try:
        lookup.start()
    except RuntimeError as error:
        raise exhaustion_error(error) or error from None
    try:
        return answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise dns_timeout(host) from None


def _getaddrinfo(host: str, port: int) -> list[_Address] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        return OSError(0, "not a host name")
    except OSError as error:
        return error
    return [(family, address) for family, _, _, _, address in found]


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _connect_error(error: OSError, port: int) -> HostError:
    if exhausted := exhaustion_error(error):
        return exhausted
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return connect_timeout(port)
    if error.errno == errno.ECONNREFUSED:
        return connection_refused(port)
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EHOSTDOWN):
        return no_route(error.strerror)
    return connect_failed(port, error.strerror or str(error))
