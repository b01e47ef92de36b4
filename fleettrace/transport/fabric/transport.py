"""SSH: fabric logs in, and the traffic goes over paramiko's raw channels in pieces of 32 KiB.

fabric's own `run` looks for output every 10 ms and reads 1,000 bytes at a time, which costs many times as much. Here a
reader sleeps until either stream has something, at most until its deadline. Nothing of fabric or paramiko is
imported before the first connection.
"""

from __future__ import annotations

import contextlib
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from fleettrace.errors import HostError, HostState
from fleettrace.transport.bootstrap import command_line
from fleettrace.transport.interface import Chunk, Limits, Stream, Target
from fleettrace.transport.session import READ_SIZE, Session, Sessions
from fleettrace.transport.shortage import shortage

if TYPE_CHECKING:
    from pathlib import Path

    from fabric import Connection as FabricConnection
    from paramiko import Channel

    from fleettrace.transport.fabric.bastions import Bastions
    from fleettrace.transport.fabric.keys import KeyRing
    from fleettrace.transport.ssh_config import Configs, Route

__all__ = ["SshTransport"]

_LOGINS_AT_ONCE = 128
"""Key exchanges and authentications under way: of 500 at once, on two CPUs, some were not answered within a minute.
Where one takes 2 s for the way alone, that is 64 hosts a second."""
_STALE_SECONDS = 5.0
"""Far below a LoginGraceTime that anybody sets: sshd_config(5) has 120 s."""


class SshTransport:
    """Reaches hosts over SSH. Unknown host keys are refused. One object serves a run, from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: _Shared | None = None

    def connect(self, target: Target) -> SshConnection:
        """Log in within `target.connect_timeout` seconds.

        Raises `HostError` (`unreachable`, `auth-failed`, `host-key`), and `ConfigError` for a faulty ssh_config.
        """
        deadline = time.monotonic() + target.connect_timeout
        shared = self._share()
        return SshConnection(shared.open_host(shared.route(target), deadline), target)

    def _share(self) -> _Shared:
        with self._lock:
            if self._shared is None:
                self._shared = _Shared()
            return self._shared

    def check(self, file: Path | None) -> None:
        """Read the ssh_config `file`, None for the usual ones, before anything connects. Raises `ConfigError`."""
        self._share().configs.read(file)

    def close(self) -> None:
        """Close the bastions' connections."""
        with self._lock:
            shared, self._shared = self._shared, None
        if shared is not None:
            shared.bastions.close()


class _Shared:
    """What the hosts of a run have in common: configuration, keys, bastions."""

    def __init__(self) -> None:
        from fleettrace.transport.fabric.bastions import Bastions
        from fleettrace.transport.fabric.keys import KeyRing
        from fleettrace.transport.ssh_config import Configs

        self.configs: Configs = Configs()
        self.keys: KeyRing = KeyRing()
        self.bastions: Bastions = Bastions(self.open)
        self._logins = threading.Semaphore(_LOGINS_AT_ONCE)

    def route(self, target: Target) -> Route:
        from fleettrace.transport.ssh_config import route_of

        return route_of(target, self.configs)

    def open(self, route: Route, deadline: float) -> FabricConnection:
        """Log in now."""
        return self._login(route, self._socket(route, deadline), deadline)

    def open_host(self, route: Route, deadline: float) -> FabricConnection:
        """Log in when no more than some others do; the deadline waits as well. (A bastion has hosts waiting for it.)

        Connected before that, for a host that is not there is to keep no other waiting; and anew after a long wait, for
        sshd closes a connection on which nobody logs in (its LoginGraceTime).
        """
        sock = self._socket(route, deadline)
        began = time.monotonic()
        soon = self._logins.acquire(timeout=_STALE_SECONDS)
        if not soon:
            sock.close()
            self._logins.acquire()
        try:
            deadline += time.monotonic() - began
            return self._login(route, sock if soon else self._socket(route, deadline), deadline)
        finally:
            self._logins.release()

    def _login(self, route: Route, sock: Any, deadline: float) -> FabricConnection:
        from fleettrace.transport.fabric.login import login

        return login(route, sock, self.keys, deadline)

    def _socket(self, route: Route, deadline: float) -> Any:
        from fleettrace.transport.fabric.tcp import dial, dial_by_command

        if route.hop is not None:
            return self.bastions.channel(route.hop, route.host, route.port, deadline)
        if route.proxy_command is not None:
            return dial_by_command(route.proxy_command)
        return dial(route.host, route.port, deadline)


class SshConnection:
    """A `Connection` over SSH."""

    def __init__(self, connection: FabricConnection, target: Target) -> None:
        self._connection = connection
        self._target = target
        self._sessions = Sessions()

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Session:
        """Run `script` with `sh`, as root where the target says so. Raises `HostError`."""
        become = self._target.become
        seconds = min(limits.seconds, self._target.connect_timeout)

        def connect() -> ChannelPipe:
            return ChannelPipe(self._channel(command_line(become), seconds))

        return self._sessions.start(connect, become, script, limits, keep_shell=keep_shell)

    def close(self) -> None:
        """Close the connection and everything that runs over it. Safe from another thread, and more than once."""
        from fleettrace.transport.fabric.login import hang_up

        self._sessions.close()
        hang_up(self._connection)

    def _channel(self, command: str, seconds: float) -> Channel:
        from paramiko import ChannelException

        transport = self._connection.transport
        try:
            channel: Channel = transport.open_session(timeout=seconds)
            channel.event = _BoundedEvent(seconds)
            channel.exec_command(command)
        except ChannelException:
            raise HostError(
                HostState.UNREACHABLE, "session-refused", "logged in, but sshd opens no session: its MaxSessions?"
            ) from None
        except Exception as error:
            if ours := shortage(error):
                raise ours from None
            if not transport.is_active():
                raise _lost() from None
            raise HostError(
                HostState.UNREACHABLE, "exec-refused", "logged in, but sshd did not run a command for this account"
            ) from None
        return channel


class _BoundedEvent(threading.Event):
    """paramiko waits for the answer to an exec request without end; this ends it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(self._seconds if timeout is None else timeout)


class _Bell:
    """What a stream's buffer takes for its event: rings for the reader, who waits for both streams at once, and says
    when that was.

    (`Channel.fileno`, which is meant for that, forgets a stream that fills while the other is found empty.)
    """

    def __init__(self, stream: Stream, bells: SimpleQueue[tuple[Stream, float]]) -> None:
        self._stream = stream
        self._bells = bells

    def set(self) -> None:
        self._bells.put((self._stream, time.monotonic()))

    def clear(self) -> None:
        pass


class ChannelPipe:
    """A command behind an SSH channel, as a `Pipe`."""

    def __init__(self, channel: Channel) -> None:
        from fleettrace.transport.fabric.tunnel import in_order

        self._channel = channel
        self._in_order = in_order
        self._readers = {Stream.OUT: channel.recv, Stream.ERR: channel.recv_stderr}
        # One entry for each packet that arrived, and so no more than the channel's window holds.
        self._bells: SimpleQueue[tuple[Stream, float]] = SimpleQueue()
        for stream, buffer in ((Stream.OUT, channel.in_buffer), (Stream.ERR, channel.in_stderr_buffer)):
            bell = _Bell(stream, self._bells)
            buffer.set_event(bell)  # type: ignore[arg-type]
            # Data and the end may have come already, and paramiko rings once for both.
            bell.set()

    def receive(self, timeout: float) -> Chunk | None:
        """As `Pipe.receive`. What arrived in time is no timeout, however late this machine comes to read it."""
        deadline = time.monotonic() + timeout
        self._channel.settimeout(0.0)
        while self._readers:
            try:
                stream, arrived = self._bells.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise TimeoutError from None
            read = self._readers.get(stream)
            try:
                data = read(READ_SIZE) if read else None
            except TimeoutError:
                # What this packet brought was read along with the one before it.
                continue
            if data:
                if len(data) == READ_SIZE:
                    self._bells.put((stream, arrived))
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
            # Nothing sent: the input was ended meanwhile.
            data = data[sent:] if sent else b""

    def end_input(self) -> None:
        """As `Pipe.end_input`."""
        with contextlib.suppress(EOFError, OSError), self._in_order(self._channel):
            self._channel.shutdown_write()

    def status(self, timeout: float) -> int | None:
        """As `Pipe.status`."""
        if not self._channel.status_event.wait(max(0.0, timeout)):
            raise TimeoutError
        status = self._channel.exit_status
        if status >= 0:
            return status
        # Without a status a signal ended it, if sshd said goodbye properly.
        if not self._channel.eof_received or not self._channel.get_transport().is_active():
            raise _lost()
        return None

    def close(self) -> None:
        """As `Pipe.close`. sshd closes the command's streams; the script's watch on its input does the rest."""
        with contextlib.suppress(EOFError, OSError), self._in_order(self._channel):
            self._channel.close()


def _lost() -> HostError:
    return HostError(HostState.UNREACHABLE, "connection-lost", "the connection broke while a script ran")
