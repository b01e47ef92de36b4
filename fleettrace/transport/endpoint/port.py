"""Talk to a memcached port from the controller, plainly or with TLS, bounded in time and bytes.

The server may be anything that an inventory names, and may send anything. Each call returns within its time, and stores
no more than its bound.
"""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress

from fleettrace.errors import HostError
from fleettrace.transport.endpoint.failures import EndpointFailure
from fleettrace.transport.endpoint.model import PortTarget

__all__ = ["MemcachedPort", "connect_port"]

_CHUNK = 1 << 16
_MOST_ADDRESSES = 8
"""Addresses of one name that are tried."""


class MemcachedPort:
    """A connection to a memcached port. `close` is safe from another thread; all else is for one thread."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.asked = 0
        """Bytes of all commands."""
        self.answered = 0
        """Bytes of all answers to them."""
        self._early = b""
        """What arrived together with the end of an answer."""

    def ask(self, command: bytes, last: re.Pattern[bytes], *, seconds: float, most: int) -> bytes:
        """Send a command line, and return the answer up to the first line that `last` matches.

        Raises `HostError`: the answer is longer than `most` bytes or takes longer, or the connection is lost.
        """
        deadline = time.monotonic() + seconds
        self._send(command + b"\r\n", seconds)
        self.asked += len(command) + 2
        answer, line_start, searched = bytearray(), 0, 0
        while (remaining := deadline - time.monotonic()) > 0 and len(answer) <= most:
            answer += self.read(remaining)
            while (end := answer.find(b"\n", searched)) >= 0:
                if last.match(bytes(answer[line_start:end])):
                    self._early = bytes(answer[end + 1 :])
                    self.answered += end + 1
                    return bytes(answer[: end + 1])
                line_start = searched = end + 1
            searched = len(answer)
        what = f"the answer to `{_word(command)}` is longer than {most:,} bytes" if len(answer) > most else ""
        raise EndpointFailure.SILENT.error(what)

    def read(self, seconds: float) -> bytes:
        """Return what arrives first, at most 64 KiB; nothing if that takes longer. Raises `HostError` at the end."""
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            self._socket.settimeout(max(0.001, seconds))
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            return b""
        except (OSError, ValueError) as error:
            raise EndpointFailure.LOST.error(f"the connection to the endpoint broke ({error})") from None
        if not data:
            raise EndpointFailure.LOST.error()
        return data

    def _send(self, data: bytes, seconds: float) -> None:
        try:
            self._socket.settimeout(max(0.001, seconds))
            self._socket.sendall(data)
        except TimeoutError:
            raise EndpointFailure.SILENT.error("the endpoint reads nothing") from None
        except (OSError, ValueError) as error:
            raise EndpointFailure.LOST.error(f"the connection to the endpoint broke ({error})") from None

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._socket.close()


def connect_port(target: PortTarget, seconds: float) -> MemcachedPort:
    """Connect to a port, with the TLS handshake. Raises `HostError`."""
    deadline = time.monotonic() + seconds
    if target.tls is None:
        return MemcachedPort(_connected(target, deadline))
    from fleettrace.transport.endpoint.tls import handshake, tls_context

    context = tls_context(target.tls)
    plain = _connected(target, deadline)
    try:
        plain.settimeout(max(0.001, deadline - time.monotonic()))
        return MemcachedPort(handshake(plain, context, target))
    except HostError:
        plain.close()
        raise


def _connected(target: PortTarget, deadline: float) -> socket.socket:
    try:
        found = socket.getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EndpointFailure.DNS.error(f"{target.address} does not resolve ({_reason(error)})") from None
    last: OSError = TimeoutError("timed out")
    for family, kind, protocol, _, address in found[:_MOST_ADDRESSES]:
        if (remaining := deadline - time.monotonic()) <= 0:
            break
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(remaining)
            made.connect(address)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            made.close()
            last = error
        else:
            return made
    raise EndpointFailure.UNREACHABLE.error(f"the controller cannot connect to {target} ({_reason(last)})") from last


def _word(command: bytes) -> str:
    return command[:40].split(b" ")[0].decode("ascii", "backslashreplace")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "timed out"
