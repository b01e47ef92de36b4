"""Logging in with fabric: one deadline over TCP, greeting, key exchange and authentication together.

fabric's Connection carries the configuration and authenticates; everything it would decide on its own (host keys, keys
to try, files to read, bastions) it is told. Imported when the first connection is made: fabric takes long to load.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import paramiko
from fabric import Config, Connection
from paramiko.packet import Packetizer

from fleettrace.errors import HostError, HostState
from fleettrace.transport.bootstrap import readable
from fleettrace.transport.fabric.keys import HostKeyCheck, KeyRing
from fleettrace.transport.fabric.tunnel import HANDLERS
from fleettrace.transport.shortage import shortage
from fleettrace.transport.ssh_config import Route

__all__ = ["Link", "hang_up", "login"]

_KEEPALIVE_SECONDS = 15

_READ_AHEAD = 32 * 1024
"""Bytes: what OpenSSH puts into one packet at most."""

_CONFIG = Config(lazy=True, ssh_config=paramiko.SSHConfig())
"""Shared, for to make one takes longer than a key exchange; lazy, for fabric's configuration files are none of ours."""


class _Packets(Packetizer):
    """Closes so that a blocked reader notices at once, and needs no timer thread: the login has a deadline.

    A socket is only shut down, and closed by the reader when it has noticed. Closed under it, its number may be another
    file's before the reader polls it.
    """

    def __init__(self, link: Any) -> None:
        super().__init__(_ReadAhead(link))  # type: ignore[arg-type]
        self._link = link

    def start_handshake(self, timeout: float) -> None:
        pass

    def close(self) -> None:
        if not isinstance(self._link, socket.socket):
            super().close()
            return
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)


class _ReadAhead:
    """A socket that is asked for much at a time: paramiko reads each packet in two or three small pieces."""

    def __init__(self, link: Any) -> None:
        self._receive = link.recv
        self.send = link.send
        self.close = link.close
        self._ahead = b""

    def recv(self, size: int) -> bytes:
        """As a socket's. Only one thread receives."""
        data = self._ahead or self._receive(_READ_AHEAD)
        self._ahead = data[size:]
        return data[:size]


class _Connection(Connection):  # type: ignore[misc]
    """fabric's, whose attributes are its own: fabric writes them into the configuration, and looks all through it."""

    __setattr__ = object.__setattr__


class Link(paramiko.Transport):
    """paramiko's transport, without waking ten times a second to see whether it was closed."""

    _active_check_timeout = 5.0
    _channel_handler_table = HANDLERS

    def __init__(self, sock: Any, **options: Any) -> None:
        super().__init__(sock, packetizer_class=_Packets, **options)


def login(route: Route, sock: Any, keys: KeyRing, deadline: float) -> Connection:
    """Log in over `sock` (a socket or a bastion's channel) before `deadline`.

    Raises `HostError` (`unreachable`, `host-key`, `auth-failed`); `sock` is closed then.
    """
    check = HostKeyCheck(route, keys)
    links: list[Link] = []

    def link(sock: Any, **options: Any) -> Link:
        made = Link(sock, **options)
        made.banner_timeout = made.handshake_timeout = made.auth_timeout = _left(deadline)
        security = made.get_security_options()
        security.key_types = check.preferred(tuple(security.key_types))
        # Where these are agreed on, there is no MAC to compare: paramiko does that byte by byte, in Python.
        security.ciphers = tuple(sorted(security.ciphers, key=lambda name: "gcm" not in name))
        links.append(made)
        return made

    connection = _connection(route, sock, link, _Login(route, keys, deadline), _left(deadline))
    connection.client.set_missing_host_key_policy(check)
    try:
        connection.open()
        links[0].set_keepalive(_KEEPALIVE_SECONDS)
        return connection
    except Exception as error:
        hang_up(connection)
        with contextlib.suppress(Exception):
            sock.close()
        raise _explain(error, route, links[0] if links else None, deadline) from None


def hang_up(connection: Connection) -> None:
    """Close a connection, in whatever state. Safe from another thread, and more than once."""
    # What closing says to a peer that is gone already fails in many ways, and matters in none.
    with contextlib.suppress(Exception):
        connection.client.close()


def _connection(route: Route, sock: Any, factory: Callable[..., Link], strategy: _Login, timeout: float) -> Connection:
    return _Connection(
        route.host,
        user=route.user,
        port=route.port,
        config=_CONFIG,
        gateway=False,
        connect_kwargs={
            "sock": sock,
            "timeout": timeout,
            "transport_factory": factory,
            "auth_strategy": strategy,
        },
    )


class _Login:
    """paramiko's AuthStrategy, which remembers what it tried.

    First the inventory's key and password, then ssh_config's (or the default) keys, then the agent's.
    """

    def __init__(self, route: Route, keys: KeyRing, deadline: float) -> None:
        self._route = route
        self._keys = keys
        self._deadline = deadline
        self._tried: list[str] = []
        self._offered: set[bytes] = set()
        self._problem: HostError | None = None
        self._accepted: list[str] = []

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Called by paramiko after the host's key was accepted. Raises `HostError` (`auth-failed`, `unreachable`)."""
        for words, proof in self._proofs():
            if (left := self._deadline - time.monotonic()) <= 0:
                break
            transport.auth_timeout = left
            self._tried.append(words)
            try:
                # A non-empty answer: accepted, and another proof is asked for.
                self._accepted = self._offer(transport, proof)
                if not self._accepted:
                    return []
            except paramiko.BadAuthenticationType as error:
                self._accepted = error.allowed_types
            except paramiko.SSHException:
                pass
            if not transport.is_active():
                raise self._refused("; then it closed the connection (MaxAuthTries?)")
        if time.monotonic() >= self._deadline:
            raise HostError(HostState.UNREACHABLE, "auth-timeout", "login was not answered within the connect timeout")
        raise self._problem or self._refused("")

    def _offer(self, transport: paramiko.Transport, proof: paramiko.PKey | str) -> list[str]:
        if isinstance(proof, str):
            return transport.auth_password(self._route.user, proof)
        return transport.auth_publickey(self._route.user, proof)

    def _proofs(self) -> Iterator[tuple[str, paramiko.PKey | str]]:
        yield from self._inventory_key()
        if self._route.password is not None:
            yield "the password", self._route.password
        # Chained, not listed: the agent is asked when the files' keys were refused, and stays open while it signs.
        for words, key in chain(self._file_keys(), self._agent_keys()):
            if key.asbytes() not in self._offered:
                self._offered.add(key.asbytes())
                yield words, key

    def _inventory_key(self) -> Iterator[tuple[str, paramiko.PKey]]:
        path = self._route.key_file
        if path is None:
            return
        try:
            key = self._keys.private_key(path, self._route.certificates)
        except HostError as error:
            # An agent may hold the same key without its passphrase; nothing else can be made good.
            if error.code != "key-passphrase":
                raise
            self._problem = error
            return
        self._offered.add(key.asbytes())
        yield f"key {path}", key

    def _file_keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        for path in self._route.identities:
            try:
                yield f"key {path}", self._keys.private_key(path, self._route.certificates)
            except HostError as error:
                if error.code != "key-missing" and self._problem is None:
                    self._problem = error

    def _agent_keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        if not self._route.use_agent:
            return
        agent = paramiko.Agent()
        try:
            for key in agent.get_keys():
                yield f"agent key {readable(key.comment.encode(), 60) or key.get_name()}", key
        except (OSError, paramiko.SSHException):
            return
        finally:
            agent.close()

    def _refused(self, end: str) -> HostError:
        if not self._tried:
            return HostError(
                HostState.AUTH_FAILED,
                "auth-nothing",
                f"there is no key, agent or password to log in with as {self._route.user}: "
                "set `ansible_ssh_private_key_file`, or `ssh-add` a key to an agent",
            )
        accepts = f"; it accepts {', '.join(self._accepted)}" if self._accepted else ""
        return HostError(
            HostState.AUTH_FAILED,
            "auth-failed",
            f"login as {self._route.user} refused, tried {', '.join(self._tried)}{accepts}{end}: "
            "check `ansible_user` and that its authorized_keys there holds the key",
        )


def _explain(error: Exception, route: Route, link: Link | None, deadline: float) -> HostError:
    """paramiko tells its failures apart by their text alone, so the stage that was reached has the first word."""

    def failed(code: str, message: str) -> HostError:
        return HostError(HostState.UNREACHABLE, code, message)

    if isinstance(error, HostError):
        return error
    if ours := shortage(error):
        return ours
    greeted = link is not None and link.remote_version != ""
    agreed = link is not None and link.initial_kex_done
    if time.monotonic() >= deadline or isinstance(error, TimeoutError):
        if not greeted:
            return failed(
                "banner-timeout", "connected, but nothing said a word of SSH within the connect timeout: is that sshd?"
            )
        stage = "auth" if agreed else "kex"
        return failed(f"{stage}-timeout", "the login did not end within the connect timeout: is the host overloaded?")
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return failed("no-common-algorithm", f"no algorithm in common with its sshd: {readable(str(error).encode())}")
    text = str(error)
    if "Indecipherable" in text or "Invalid SSH banner" in text:
        return failed("not-ssh", "what answers there does not speak SSH: check `ansible_port`")
    if not greeted and route.proxy_command is not None:
        return failed("proxy-command-failed", "ssh_config's ProxyCommand ended before a greeting: run it by hand")
    if not greeted:
        return failed(
            "banner-closed",
            "connected, but closed before a greeting: sshd's MaxStartups (lower --forks), a firewall, or no sshd",
        )
    if isinstance(error, EOFError | OSError) or link is None or not link.is_active():
        return failed(
            "connection-lost", f"the connection broke during the login ({readable(text.encode()) or 'closed'})"
        )
    return failed("ssh-failed", f"the login failed: {readable(text.encode())}")


def _left(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())
