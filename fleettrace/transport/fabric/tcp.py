"""A TCP connection within a deadline: names, every address, and words for each way to fail."""

from __future__ import annotations

import errno
import ipaddress
import queue
import socket
import subprocess
import threading
import time
from typing import Any

from fleettrace.errors import HostError, HostState
from fleettrace.transport.shortage import shortage

__all__ = ["dial", "dial_by_command"]

# A peer that vanished is noticed after 15 + 3 * 5 seconds, by the kernel alone: no thread has to wake for it.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000))

_Address = tuple[int, Any]


def dial(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to any of the host's addresses before `deadline` (of `time.monotonic`).

    Raises `HostError` (`unreachable`).
    """
    addresses = _resolve(host, port, deadline)
    failure = _failed(
        "connect-timeout", "the connect timeout was over before a connection was tried: is the controller busy?"
    )
    for number, (family, address) in enumerate(addresses):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        # Shared out, so that one address that swallows packets leaves time for the next.
        try:
            link = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise _explain(error, port) from None
        try:
            link.settimeout(left / (len(addresses) - number))
            link.connect(address)
            _prepare(link)
            return link
        except OSError as error:
            link.close()
            failure = _explain(error, port)
    raise failure


def dial_by_command(command: str) -> socket.socket:
    """Connect by ssh_config's ProxyCommand: a command whose standard input and output are the connection."""
    try:
        ours, theirs = socket.socketpair()
        with theirs:
            # OpenSSH's way of running it, but for the user's own shell.
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    except OSError as error:
        raise shortage(error) or _failed(
            "proxy-command-failed", f"ssh_config's ProxyCommand cannot be started: {error.strerror or error}"
        ) from None
    return _CommandSocket(ours, process)


class _CommandSocket(socket.socket):
    def __init__(self, link: socket.socket, process: subprocess.Popen[bytes]) -> None:
        super().__init__(link.family, link.type, fileno=link.detach())
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
        answer = _lookup(host, port)
    except ValueError:
        # The C library's resolver cannot be given a deadline, so it gets a thread to be late in.
        box: queue.SimpleQueue[list[_Address] | OSError] = queue.SimpleQueue()
        try:
            threading.Thread(target=lambda: box.put(_lookup(host, port)), name=f"resolve {host}", daemon=True).start()
        except RuntimeError as error:
            raise shortage(error) or error from None
        try:
            answer = box.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise _failed("dns-timeout", "the name was not resolved in time: is the name server up?") from None
    if isinstance(answer, OSError) and (ours := shortage(answer)):
        raise ours
    if isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN:
        raise _failed("dns-timeout", f"the name {host} could not be asked for: is the name server up?")
    if isinstance(answer, OSError):
        raise _failed("dns-failed", f"the name {host} cannot be resolved ({answer.strerror}): set `ansible_host`")
    return answer


def _lookup(host: str, port: int) -> list[_Address] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        return OSError(0, "no host name")
    except OSError as error:
        return error
    return [(family, address) for family, _, _, _, address in found]


def _prepare(link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _explain(error: OSError, port: int) -> HostError:
    if ours := shortage(error):
        return ours
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return _failed("connect-timeout", f"no answer on port {port} within the connect timeout: is the host up?")
    if error.errno == errno.ECONNREFUSED:
        return _failed("connection-refused", f"connection refused on port {port}: is sshd running there?")
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EHOSTDOWN):
        return _failed("no-route", f"no route ({error.strerror}): is the host up, and its network reachable from here?")
    return _failed("connect-failed", f"cannot connect to port {port}: {error.strerror or error}")


def _failed(code: str, message: str) -> HostError:
    return HostError(HostState.UNREACHABLE, code, message)
