"""Log in with fabric: one deadline covers the SSH banner, the key exchange and the authentication.

fabric's Connection carries the configuration and authenticates. What it would decide by itself (host keys, keys to try,
files to read, bastions) is decided here. Imported with the first connection, because fabric takes long to load.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import paramiko
from fabric import Config, Connection
from paramiko.packet import Packetizer

from fleettrace.errors import HostError
from fleettrace.transport.exhaustion import exhaustion_error
from fleettrace.transport.fabric.keys import HostKeyCheck, KeyRing
from fleettrace.transport.fabric.tunnel import HANDLERS
from fleettrace.transport.login_options import LoginOptions
from fleettrace.transport.ssh_errors import (
    SshFailure,
    auth_failed,
    auth_nothing,
    connection_broke,
    no_common_algorithm,
)
from fleettrace.transport.text import readable

__all__ = ["hang_up", "login"]

_KEEPALIVE_SECONDS = 15

_AGENT_TIMEOUT_S = 30.0
"""An agent may ask the user to confirm a signature."""

_READ_SIZE = 32 * 1024
"""Bytes: the most that OpenSSH puts into one packet."""

_CONFIG = Config(lazy=True, ssh_config=paramiko.SSHConfig())
"""Shared, because making one takes longer than a key exchange; lazy, so that fabric reads none of its own files."""


class _Packets(Packetizer):
    """A packetizer that wakes a blocked reader when it closes, and needs no timer thread: the login has a deadline.

    It only shuts a socket down, and the reader closes it when it has noticed. If this closed the socket, the kernel
    could give its number to another file before the reader polls it.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(_ReadAhead(sock))  # type: ignore[arg-type]
        self._sock = sock

    def start_handshake(self, timeout: float) -> None:
        pass

    def close(self) -> None:
        if not isinstance(self._sock, socket.socket):
            super().close()
            return
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


class _ReadAhead:
    """A socket that is read in large pieces, because paramiko reads each packet in two or three small ones."""

    def __init__(self, sock: Any) -> None:
        self._receive = sock.recv
        self.send = sock.send
        self.close = sock.close
        self._ahead = b""

    def recv(self, size: int) -> bytes:
        """As `socket.recv`. Only one thread receives."""
        data = self._ahead or self._receive(_READ_SIZE)
        self._ahead = data[size:]
        return data[:size]


class _Connection(Connection):  # type: ignore[misc]
    """fabric's Connection with plain attributes: fabric's own writes each one into its configuration, which is slow."""

    __setattr__ = object.__setattr__


class _SshTransport(paramiko.Transport):
    """paramiko's transport, which checks ten times less often whether it was closed: `_Packets` wakes it."""

    _active_check_timeout = 5.0
    _channel_handler_table = HANDLERS

    def __init__(self, sock: Any, **options: Any) -> None:
        super().__init__(sock, packetizer_class=_Packets, **options)


def login(options: LoginOptions, sock: Any, keys: KeyRing, deadline: float) -> Connection:
    """Log in over `sock` (a socket, or a bastion's channel) before `deadline` (of `time.monotonic`).

    Raises `HostError` (`unreachable`, `host-key`, `auth-failed`), with `sock` closed.
    """
    check = HostKeyCheck(options, keys)
    transports: list[_SshTransport] = []

    def make_transport(sock: Any, **arguments: Any) -> _SshTransport:
        transport = _SshTransport(sock, **arguments)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = _remaining(deadline)
        security = transport.get_security_options()
        _restrict(security, options)
        security.key_types = check.preferred(tuple(security.key_types))
        # GCM first: it needs no MAC, which paramiko compares byte by byte in Python.
        security.ciphers = tuple(sorted(security.ciphers, key=lambda name: "gcm" not in name))
        transports.append(transport)
        return transport

    strategy = _AuthStrategy(options, keys, deadline)
    connection = _connection(options, sock, make_transport, strategy, _remaining(deadline))
    connection.client.set_missing_host_key_policy(check)
    try:
        connection.open()
        transports[0].set_keepalive(_KEEPALIVE_SECONDS)
        return connection
    except Exception as error:
        hang_up(connection)
        with contextlib.suppress(Exception):
            sock.close()
        raise _login_error(error, options, transports[0] if transports else None, deadline) from None


def _restrict(security: Any, options: LoginOptions) -> None:
    """Use those of paramiko's algorithms alone that ssh_config allows. Raises `HostError` if that is none."""
    fields = {"kexalgorithms": "kex", "hostkeyalgorithms": "key_types", "ciphers": "ciphers", "macs": "digests"}
    for keyword, allowed in options.algorithms:
        if keyword in fields:
            ours = getattr(security, fields[keyword])
            common = tuple(name for name in allowed if name in ours)
            if not common:
                raise no_common_algorithm(
                    f"ssh_config's {keyword} has none that this client knows: --transport openssh"
                )
            setattr(security, fields[keyword], common)


def hang_up(connection: Connection) -> None:
    """Close a connection, in whatever state. Safe from another thread, and more than once."""
    # Closing sends a message to the peer, which fails in many ways where the peer is gone; none of them matters.
    with contextlib.suppress(Exception):
        connection.client.close()


def _connection(
    options: LoginOptions,
    sock: Any,
    make_transport: Callable[..., _SshTransport],
    strategy: _AuthStrategy,
    timeout: float,
) -> Connection:
    return _Connection(
        options.host,
        user=options.user,
        port=options.port,
        config=_CONFIG,
        gateway=False,
        connect_kwargs={
            "sock": sock,
            "timeout": timeout,
            "transport_factory": make_transport,
            "auth_strategy": strategy,
        },
    )


class _Agent(paramiko.agent.AgentSSH):
    """An agent behind any socket; paramiko's own takes the one in SSH_AUTH_SOCK alone."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.settimeout(_AGENT_TIMEOUT_S)
            self._sock.connect(path)
            self._connect(self._sock)  # type: ignore[attr-defined]  # the stubs leave it out
        except (OSError, paramiko.SSHException) as error:
            self._sock.close()
            raise OSError(str(error)) from None

    def close(self) -> None:
        """Close the connection."""
        self._close()  # type: ignore[attr-defined]


class _AuthStrategy:
    """paramiko's AuthStrategy, which remembers what it tried.

    The order: the inventory's key and password, ssh_config's keys (or the default ones), then the agent's.
    """

    def __init__(self, options: LoginOptions, keys: KeyRing, deadline: float) -> None:
        self._options = options
        self._keys = keys
        self._deadline = deadline
        self._tried: list[str] = []
        self._offered: set[bytes] = set()
        self._problem: HostError | None = None
        self._accepted: list[str] = []

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Log in, after paramiko accepted the host key. Raises `HostError` (`auth-failed`, `unreachable`)."""
        for name, credential in self._credentials():
            if (remaining := self._deadline - time.monotonic()) <= 0:
                break
            transport.auth_timeout = remaining
            self._tried.append(name)
            try:
                # A list that is not empty: sshd accepts this one, and asks for another of these kinds.
                self._accepted = self._offer(transport, credential)
                if not self._accepted:
                    return []
            except paramiko.BadAuthenticationType as error:
                self._accepted = error.allowed_types
            except paramiko.SSHException:
                pass
            if not transport.is_active():
                raise self._refused(closed=True)
        if time.monotonic() >= self._deadline:
            raise SshFailure.AUTH_TIMEOUT.error()
        raise self._problem or self._refused(closed=False)

    def _offer(self, transport: paramiko.Transport, credential: paramiko.PKey | str) -> list[str]:
        if isinstance(credential, str):
            return transport.auth_password(self._options.user, credential)
        return transport.auth_publickey(self._options.user, credential)

    def _credentials(self) -> Iterator[tuple[str, paramiko.PKey | str]]:
        yield from self._inventory_key()
        if self._options.password is not None:
            yield "the password", self._options.password
        # A chain and not a list: it asks the agent only after the files' keys, and keeps it open while it signs.
        for name, key in chain(self._file_keys(), self._agent_keys()):
            if key.asbytes() not in self._offered:
                self._offered.add(key.asbytes())
                yield name, key

    def _inventory_key(self) -> Iterator[tuple[str, paramiko.PKey]]:
        path = self._options.key_file
        if path is None:
            return
        try:
            key = self._keys.private_key(path, self._options.certificates)
        except HostError as error:
            # An agent may hold the same key without its passphrase. Any other fault ends the login.
            if error.code != SshFailure.KEY_PASSPHRASE.code:
                raise
            self._problem = error
            return
        self._offered.add(key.asbytes())
        yield f"key {path}", key

    def _file_keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        for path in self._options.identities:
            if path.suffix == ".pub":
                # A public half: the agent has the private one.
                continue
            try:
                yield f"key {path}", self._keys.private_key(path, self._options.certificates)
            except HostError as error:
                if error.code != SshFailure.KEY_MISSING.code and self._problem is None:
                    self._problem = error

    def _agent_keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        if self._options.agent is None:
            return
        try:
            agent = _Agent(self._options.agent)
        except OSError:
            return
        try:
            for key in self._allowed(agent.get_keys()):
                yield f"agent key {readable(key.comment.encode(), 60) or key.get_name()}", key
        except (OSError, paramiko.SSHException):
            return
        finally:
            agent.close()

    def _allowed(self, keys: Sequence[paramiko.AgentKey]) -> list[paramiko.AgentKey]:
        """Return the agent's keys, those of ssh_config's files first; with IdentitiesOnly no others."""
        files = [*self._options.identities, *([self._options.key_file] if self._options.key_file else [])]
        named = {public for path in files if (public := self._keys.public_key(path))}
        if self._options.identities_only:
            return [key for key in keys if key.asbytes() in named]
        return sorted(keys, key=lambda key: key.asbytes() not in named)

    def _refused(self, *, closed: bool) -> HostError:
        if not self._tried:
            return auth_nothing(self._options.user)
        return auth_failed(self._options.user, self._tried, self._accepted, closed=closed)


def _login_error(
    error: Exception, options: LoginOptions, transport: _SshTransport | None, deadline: float
) -> HostError:
    """Return why a login failed.

    paramiko's errors differ in their texts alone, so the stage of the login that was reached decides first.
    """
    if isinstance(error, HostError):
        return error
    if exhausted := exhaustion_error(error):
        return exhausted
    greeted = transport is not None and transport.remote_version != ""
    agreed = transport is not None and transport.initial_kex_done
    if time.monotonic() >= deadline or isinstance(error, TimeoutError):
        if not greeted:
            return SshFailure.BANNER_TIMEOUT.error()
        return (SshFailure.AUTH_TIMEOUT if agreed else SshFailure.KEX_TIMEOUT).error()
    text = readable(str(error).encode())
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return no_common_algorithm(text)
    if "Indecipherable" in str(error) or "Invalid SSH banner" in str(error):
        return SshFailure.NOT_SSH.error()
    if not greeted and options.proxy_command is not None:
        return SshFailure.PROXY_COMMAND_FAILED.error()
    if not greeted:
        return SshFailure.BANNER_CLOSED.error()
    if isinstance(error, EOFError | OSError) or transport is None or not transport.is_active():
        return connection_broke(text)
    return SshFailure.SSH_FAILED.error(f"the login failed ({text})")


def _remaining(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())
