"""Open sessions over a logged-in `ssh`: the client's half of OpenSSH's PROTOCOL.mux, version 4.

`ssh -S SOCKET` would do the same, but with one more process for every script. It would also log in again where the
connection is gone, and its status 255 could be the script's. Here the connection's process gets the script's streams.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fleettrace.transport.interface import Chunk, Stream
from fleettrace.transport.openssh.stderr import local_error
from fleettrace.transport.session import READ_SIZE
from fleettrace.transport.ssh_errors import SshFailure
from fleettrace.transport.text import readable

__all__ = ["MuxPipe"]

# PROTOCOL.mux of OpenSSH, section 10.
_HELLO, _VERSION = 0x00000001, 4
_NEW_SESSION = 0x10000002
_FAILURES = {0x80000002, 0x80000003}  # MUX_S_PERMISSION_DENIED, MUX_S_FAILURE
_EXIT, _OPENED = 0x80000004, 0x80000006
_NO_ESCAPE = 0xFFFFFFFF
_FRAME_LIMIT = 256 * 1024


class MuxPipe:
    """A command in a session, as a `Pipe`."""

    def __init__(self, control: Path, command: str, seconds: float, broken: Callable[[], bool]) -> None:
        """`broken` returns whether the connection is gone; it is called when the session ended without a status.

        Raises `HostError` (`connection-lost`, `session-refused`, `session-timeout`, `too-many-files`).
        """
        self._broken = broken
        self._using = threading.Lock()
        self._closed = False
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            try:
                self._selector = ours.enter_context(selectors.DefaultSelector())
                self._control = ours.enter_context(socket.socket(socket.AF_UNIX))
                pairs = [_pair(ours, theirs) for _ in range(3)]
            except OSError as error:
                raise local_error(error) from None
            self._hand_over(control, command, [end for _, end in pairs], max(0.01, seconds))
            self._streams = [end for end, _ in pairs]
            self._free = ours.pop_all().close
        self._input, *readers = self._streams
        for stream, reader in zip((Stream.OUT, Stream.ERR), readers, strict=True):
            self._selector.register(reader, selectors.EVENT_READ, stream)
        for end in self._streams:
            end.setblocking(False)

    def _hand_over(self, control: Path, command: str, streams: list[socket.socket], seconds: float) -> None:
        try:
            self._control.settimeout(seconds)
            self._control.connect(str(control))
            self._open(command, streams)
        except TimeoutError:
            raise SshFailure.SESSION_TIMEOUT.error(
                f"logged in, but sshd opened no session within {seconds:g} s"
            ) from None
        except OSError:
            raise SshFailure.CONNECTION_LOST.error() from None

    def _open(self, command: str, streams: list[socket.socket]) -> None:
        self._put(struct.pack(">II", _HELLO, _VERSION))
        # Request 0; no terminal, X11, agent or subsystem; no escape character; no terminal type.
        options = struct.pack(">IIIII", 0, 0, 0, 0, _NO_ESCAPE)
        request = (
            struct.pack(">II", _NEW_SESSION, 0) + _string(b"") + options + _string(b"") + _string(command.encode())
        )
        self._put(request)
        for stream in streams:
            socket.send_fds(self._control, [b"\0"], [stream.fileno()])
        while (frame := self._get()) is not None:
            kind = int.from_bytes(frame[:4], "big")
            if kind == _OPENED:
                return
            if kind in _FAILURES:
                raise SshFailure.SESSION_REFUSED.error(f"logged in, but sshd opens no session ({readable(frame[12:])})")
        raise ConnectionError

    def _put(self, payload: bytes) -> None:
        self._control.sendall(struct.pack(">I", len(payload)) + payload)

    def _get(self) -> bytes | None:
        """Return the next frame, None at the end. Raises TimeoutError, ConnectionError."""
        head = self._exactly(4)
        if not head:
            return None
        size = int.from_bytes(head, "big")
        if size > _FRAME_LIMIT:
            raise ConnectionError
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._control.recv(size - len(data))
            if not piece:
                return b""
            data += piece
        return data

    def receive(self, timeout: float) -> Chunk | None:
        """As `Pipe.receive`."""
        deadline = time.monotonic() + timeout
        with self._using:
            while not self._closed and self._selector.get_map():
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not (events := self._selector.select(remaining)):
                    raise TimeoutError
                for key, _ in events:
                    assert isinstance(key.fileobj, socket.socket)
                    if data := key.fileobj.recv(READ_SIZE):
                        return Chunk(key.data, data)
                    self._selector.unregister(key.fileobj)
        return None

    def send(self, data: bytes, timeout: float) -> None:
        """As `Pipe.send`."""
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        with self._using, contextlib.suppress(ConnectionError), selectors.DefaultSelector() as selector:
            if self._closed:
                return
            selector.register(self._input, selectors.EVENT_WRITE)
            while view:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                view = view[self._input.send(view) :]

    def end_input(self) -> None:
        """As `Pipe.end_input`."""
        _shut(self._input, socket.SHUT_WR)

    def status(self, timeout: float) -> int | None:
        """As `Pipe.status`."""
        with self._using:
            if self._closed:
                return None
            try:
                self._control.settimeout(max(0.01, timeout))
                while (frame := self._get()) is not None:
                    if int.from_bytes(frame[:4], "big") == _EXIT and len(frame) >= 12:
                        return int.from_bytes(frame[8:12], "big")
            except ConnectionError:
                raise SshFailure.CONNECTION_LOST.error() from None
        if not self._closed and self._broken():
            raise SshFailure.CONNECTION_LOST.error()
        return None

    def close(self) -> None:
        """As `Pipe.close`: ssh ends the session when its control connection is closed."""
        for end in (*self._streams, self._control):
            # Wakes a thread that uses it.
            _shut(end, socket.SHUT_RDWR)
        with self._using:
            if not self._closed:
                self._closed = True
                self._free()


def _pair(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    mine, other = socket.socketpair()
    return ours.enter_context(mine), theirs.enter_context(other)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _shut(end: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(how)
