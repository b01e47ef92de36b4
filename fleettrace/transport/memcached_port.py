"""Talk to a memcached port from the controller, plainly or with TLS, bounded in time and bytes.

The server may be anything that an inventory names, and may send anything. Each call returns within its time, and stores
no more than its bound.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import FailureCatalogue, HostState

__all__ = ["EndpointFailure", "MemcachedPort", "PortTarget", "Tls", "connect_port"]

_CHUNK = 1 << 16
_MOST_ADDRESSES = 8
"""Addresses of one name that are tried."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS with a port. The files are in PEM."""

    ca: Path | None = None
    """The accepted certificate authorities; None: those of the system."""
    certificate: Path | None = None
    """The client's certificate, with its chain."""
    key: Path | None = None
    """Its private key; None: the key is in the certificate's file."""
    server_name: str | None = None
    """The name that the server's certificate must have; None: the address."""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class PortTarget:
    """The port of one memcached, as the controller reaches it."""

    address: str
    """A name or a numeric address."""
    port: int
    tls: Tls | None = None
    """None: no TLS."""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class EndpointFailure(FailureCatalogue):
    """Ways in which an endpoint (`fleettrace_endpoint`) fails."""

    DNS = (
        "endpoint-dns",
        HostState.UNREACHABLE,
        "the endpoint's name does not resolve",
        "correct fleettrace_endpoint, or check the controller's name server",
    )
    UNREACHABLE = (
        "endpoint-unreachable",
        HostState.UNREACHABLE,
        "the controller cannot connect to the endpoint",
        "check fleettrace_endpoint, and that memcached listens there and no firewall is between",
    )
    TLS_FILES = (
        "endpoint-tls-files",
        HostState.SKIPPED,
        "a file for TLS with the endpoint cannot be used",
        "correct fleettrace_endpoint_tls_ca, _cert or _key; the key must not be encrypted",
    )
    CERTIFICATE = (
        "endpoint-certificate",
        HostState.HOST_KEY,
        "the endpoint's certificate is not trusted",
        "set fleettrace_endpoint_tls_ca to its authority, or fleettrace_endpoint_tls_server_name to the name in it",
    )
    TLS = (
        "endpoint-tls",
        HostState.UNREACHABLE,
        "the TLS handshake with the endpoint failed",
        "check that the port speaks TLS, and fleettrace_endpoint_tls_cert if it asks for a client's certificate",
    )
    LOST = (
        "endpoint-lost",
        HostState.UNREACHABLE,
        "the endpoint closed the connection",
        "check that the port is memcached's, and set fleettrace_endpoint_tls: true if it requires TLS",
    )
    AUTHENTICATION = (
        "endpoint-authentication",
        HostState.AUTH_FAILED,
        "memcached requires a login (-Y or SASL)",
        "fleettrace does not log in to memcached: trace the host over SSH, or leave it out",
    )
    NOT_MEMCACHED = (
        "endpoint-not-memcached",
        HostState.UNSUPPORTED,
        "the endpoint does not answer `stats` as memcached does",
        "check fleettrace_endpoint",
    )
    PROXY = (
        "endpoint-proxy",
        HostState.UNSUPPORTED,
        "the endpoint is memcached in proxy mode (proxy_config), which looks no keys up",
        "name the memcached servers behind it, one host each",
    )
    SEVERAL = (
        "endpoint-several",
        HostState.UNSUPPORTED,
        "the endpoint leads to several memcached processes",
        "name each of them, one host each",
    )
    NEEDS_LOGIN = (
        "endpoint-needs-login",
        HostState.UNSUPPORTED,
        "this needs bpftrace on the host",
        "leave out the option, or trace the host over SSH (without fleettrace_endpoint)",
    )
    SILENT = (
        "endpoint-silent",
        HostState.UNREACHABLE,
        "the endpoint gave no complete answer in time",
        "check that the port is memcached's; if it requires TLS, set fleettrace_endpoint_tls; SASL is not supported",
    )


class MemcachedPort:
    """A connection to a memcached port. `close` is safe from another thread; all else is for one thread."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._early = b""
        """What arrived together with the end of an answer."""

    def ask(self, command: bytes, last: re.Pattern[bytes], *, seconds: float, most: int) -> bytes:
        """Send a command line, and return the answer up to the first line that `last` matches.

        Raises `HostError`: the answer is longer than `most` bytes or takes longer, or the connection is lost.
        """
        deadline = time.monotonic() + seconds
        self._send(command + b"\r\n", seconds)
        answer, line_start, searched = bytearray(), 0, 0
        while (remaining := deadline - time.monotonic()) > 0 and len(answer) <= most:
            answer += self.read(remaining)
            while (end := answer.find(b"\n", searched)) >= 0:
                if last.match(bytes(answer[line_start:end])):
                    self._early = bytes(answer[end + 1 :])
                    return bytes(answer[: end + 1])
                line_start = searched = end + 1
            searched = len(answer)
        what = f"the answer to `{command.decode('ascii')}` is longer than {most:,} bytes" if len(answer) > most else ""
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


def connect_port(endpoint: PortTarget, seconds: float) -> MemcachedPort:
    """Connect to an endpoint, with the TLS handshake. Raises `HostError`."""
    deadline = time.monotonic() + seconds
    context = None if endpoint.tls is None else _context(endpoint.tls)
    plain = _connected(endpoint, deadline)
    if context is None or endpoint.tls is None:
        return MemcachedPort(plain)
    try:
        plain.settimeout(max(0.001, deadline - time.monotonic()))
        return MemcachedPort(context.wrap_socket(plain, server_hostname=endpoint.tls.server_name or endpoint.address))
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise EndpointFailure.CERTIFICATE.error(
            f"the certificate of {endpoint} is not trusted ({error.verify_message})"
        ) from None
    except (OSError, ValueError) as error:
        plain.close()
        raise EndpointFailure.TLS.error(f"the TLS handshake with {endpoint} failed ({_reason(error)})") from None


def _context(tls: Tls) -> ssl.SSLContext:
    def refuse() -> str:
        raise ValueError("the key is encrypted")

    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, password=refuse)
    except (OSError, ValueError) as error:
        names = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None)
        raise EndpointFailure.TLS_FILES.error(f"{names}: {_reason(error)}") from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _connected(endpoint: PortTarget, deadline: float) -> socket.socket:
    try:
        found = socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EndpointFailure.DNS.error(f"{endpoint.address} does not resolve ({_reason(error)})") from None
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
    raise EndpointFailure.UNREACHABLE.error(f"the controller cannot connect to {endpoint} ({_reason(last)})") from last


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "timed out"
