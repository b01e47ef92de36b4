"""Connections by fabric: log in, and read output from paramiko's channels in pieces of 32 KiB.

fabric's own `run` polls for output every 10 ms and reads 1,000 bytes at a time, which costs many times as much CPU.
Here a reader sleeps until a stream has data or its deadline passes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

from fabric import Connection as FabricConnection
from paramiko import Channel, ChannelException

from fleettrace.errors import ConfigError
from fleettrace.transport.bootstrap import command_line
from fleettrace.transport.exhaustion import exhaustion_error
from fleettrace.transport.fabric.bastions import Bastions
from fleettrace.transport.fabric.keys import KeyRing
from fleettrace.transport.fabric.login import hang_up, login
from fleettrace.transport.fabric.tcp import connect_by_command, connect_tcp
from fleettrace.transport.fabric.tunnel import in_order
from fleettrace.transport.interface import Chunk, Limits, Stream, Target
from fleettrace.transport.login_options import LoginOptions, login_options
from fleettrace.transport.session import READ_SIZE, Session, Sessions
from fleettrace.transport.ssh_errors import SshFailure, config_refused
from fleettrace.transport.ssh_query import SshQueries

__all__ = ["Logins", "SshConnection"]

_LOGINS_AT_ONCE = 128
"""Key exchanges and authentications at a time. Of 500 at once, on two CPUs, some took more than a minute. Where the
round trips of one login take 2 s, this still logs in to 64 hosts a second."""
_STALE_SECONDS = 5.0
"""The age up to which a connection is used for a login: far below sshd's LoginGraceTime, 120 s by sshd_config(5)."""


class Logins:
    """The logins of a run, and what they share: configuration, keys, bastions."""

    def __init__(self, queries: SshQueries) -> None:
        self._queries = queries
        self._keys = KeyRing()
        self._bastions = Bastions(self._open_bastion)
        self._slots = threading.Semaphore(_LOGINS_AT_ONCE)

    def open(self, target: Target, deadline: float) -> SshConnection:
        """Log in to a host. Raises `HostError` and `ConfigError`, as `Transport.connect`."""
        try:
            options = login_options(target, self._queries)
        except ConfigError as error:
            raise config_refused(error) from None
        return SshConnection(self._open_host(options, deadline), target)

    def close(self) -> None:
        """Close the connections to bastions."""
        self._bastions.close()

    def _open_bastion(self, options: LoginOptions, deadline: float) -> FabricConnection:
        """Log in at once, because hosts wait for the bastion."""
        return self._login(options, self._socket(options, deadline), deadline)

    def _open_host(self, options: LoginOptions, deadline: float) -> FabricConnection:
        """Log in when fewer than `_LOGINS_AT_ONCE` others do. Waiting for that extends the deadline.

        It connects before it waits, so that a host that is down delays no other. After a long wait it connects again,
        because sshd closes a connection without a login after its LoginGraceTime.
        """
        sock = self._socket(options, deadline)
        started = time.monotonic()
        fresh = self._slots.acquire(timeout=_STALE_SECONDS)
        if not fresh:
            sock.close()
            self._slots.acquire()
        try:
            deadline += time.monotonic() - started
            return self._login(options, sock if fresh else self._socket(options, deadline), deadline)
        finally:
            self._slots.release()

    def _login(self, options: LoginOptions, sock: Any, deadline: float) -> FabricConnection:
        return login(options, sock, self._keys, deadline)

    def _socket(self, options: LoginOptions, deadline: float) -> Any:
        if options.bastion is not None:
            return self._bastions.tunnel(options.bastion, options.host, options.port, deadline)
        if options.proxy_command is not None:
            return connect_by_command(options.proxy_command)
        return connect_tcp(options.host, options.port, deadline)


class SshConnection:
    """A `Connection` over SSH."""

    def __init__(self, connection: FabricConnection, target: Target) -> None:
        self._connection = connection
        self._target = target
        self._sessions = Sessions()

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Session:
        """As `Connection.start`."""
        become = self._target.become
        seconds = min(limits.seconds, self._target.connect_timeout)

        def connect() -> ChannelPipe:
            return ChannelPipe(self._channel(command_line(become), seconds))

        return self._sessions.start(connect, become, script, limits, keep_shell=keep_shell)

    def close(self) -> None:
        """As `Connection.close`."""
        self._sessions.close()
        hang_up(self._connection)

    def _channel(self, command: str, seconds: float) -> Channel:
        transport = self._connection.transport
        try:
            channel: Channel = transport.open_session(timeout=seconds)
            channel.event = _BoundedEvent(seconds)
            channel.exec_command(command)
        except ChannelException:
            raise SshFailure.SESSION_REFUSED.error() from None
        except Exception as error:
            if exhausted := exhaustion_error(error):
                raise exhausted from None
            if not transport.is_active():
                raise SshFailure.CONNECTION_LOST.error() from None
            raise SshFailure.EXEC_REFUSED.error() from None
        return channel


class _BoundedEvent(threading.Event):
    """An event with a default timeout: paramiko itself sets none for the answer to an exec request."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(self._seconds if timeout is None else timeout)


class _ArrivalEvent:
    """The event of one stream's buffer. It queues the stream and the time for a reader that waits for both streams.

    (`Channel.fileno`, made for that purpose, misses a stream that fills while the other one is found empty.)
    """

    def __init__(self, stream: Stream, arrivals: SimpleQueue[tuple[Stream, float]]) -> None:
        self._stream = stream
        self._arrivals = arrivals

    def set(self) -> None:
        self._arrivals.put((self._stream, time.monotonic()))

    def clear(self) -> None:
        pass


class ChannelPipe:
    """A command behind an SSH channel, as a `Pipe`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._readers = {Stream.OUT: channel.recv, Stream.ERR: channel.recv_stderr}
        # One entry for each packet that arrived, so the channel's window bounds it.
        self._arrivals: SimpleQueue[tuple[Stream, float]] = SimpleQueue()
        for stream, buffer in ((Stream.OUT, channel.in_buffer), (Stream.ERR, channel.in_stderr_buffer)):
            event = _ArrivalEvent(stream, self._arrivals)
            buffer.set_event(event)  # type: ignore[arg-type]
            # Data and the end may have arrived already, and paramiko sets the event once for both.
            event.set()

    def receive(self, timeout: float) -> Chunk | None:
        """As `Pipe.receive`. Data that arrived before the timeout is returned, also if it is read after it."""
        deadline = time.monotonic() + timeout
        self._channel.settimeout(0.0)
        while self._readers:
            try:
                stream, arrived = self._arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise TimeoutError from None
            read = self._readers.get(stream)
            try:
                data = read(READ_SIZE) if read else None
            except TimeoutError:
                # The previous read took this packet's data as well.
                continue
            if data:
                if len(data) == READ_SIZE:
                    self._arrivals.put((stream, arrived))
                if arrived > deadline:
                    raise TimeoutError
                return Chunk(stream, data)
            self._readers.pop(stream, None)
        return None

    def send(self, data: bytes, timeout: float) -> None:
        """As `Pipe.send`."""
        self._channel.settimeout(max(0.01, timeout))
        while data:
            try:
                sent = self._channel.send(data)
            except TimeoutError:
                raise
            except OSError:
                return
            # Nothing was sent: another thread ended the input.
            data = data[sent:] if sent else b""

    def end_input(self) -> None:
        """As `Pipe.end_input`."""
        with contextlib.suppress(EOFError, OSError), in_order(self._channel):
            self._channel.shutdown_write()

    def status(self, timeout: float) -> int | None:
        """As `Pipe.status`."""
        if not self._channel.status_event.wait(max(0.0, timeout)):
            raise TimeoutError
        status = self._channel.exit_status
        if status >= 0:
            return status
        # A signal leaves no status. Neither does a broken connection, but then no end of the output arrives either.
        if not self._channel.eof_received or not self._channel.get_transport().is_active():
            raise SshFailure.CONNECTION_LOST.error()
        return None

    def close(self) -> None:
        """As `Pipe.close`. sshd closes the command's streams, and the script ends itself at the end of its input."""
        with contextlib.suppress(EOFError, OSError), in_order(self._channel):
            self._channel.close()
