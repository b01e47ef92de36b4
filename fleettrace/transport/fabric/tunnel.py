"""Close a channel cleanly while another thread still uses it.

sshd ends a whole connection when data, or an end of input, arrives for a channel that was closed. paramiko decides
under a channel's lock what to send and sends it after, so that two threads can swap a last message with the CLOSE. The
end of one host's connection would then cut off every host behind its bastion. Here each channel has a lock that covers
the decision and the sending.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_CLOSE

__all__ = ["HANDLERS", "Tunnel", "in_order"]

_LOCK = "fleettrace_send_lock"
_LOCK_SECONDS = 2.0


@contextlib.contextmanager
def in_order(channel: paramiko.Channel) -> Iterator[None]:
    """Send no CLOSE on `channel` while the block decides what to send and sends it."""
    lock: threading.Lock = channel.__dict__.setdefault(_LOCK, threading.Lock())
    # During a key exchange, a sender waits for the thread that may be waiting here: hence the timeout.
    held = lock.acquire(timeout=_LOCK_SECONDS)
    try:
        yield
    finally:
        if held:
            lock.release()


def _handle_close(channel: paramiko.Channel, message: paramiko.Message) -> None:
    with in_order(channel):
        _PARAMIKO[MSG_CHANNEL_CLOSE](channel, message)


_PARAMIKO: dict[int, Any] = paramiko.Transport._channel_handler_table  # type: ignore[attr-defined]
HANDLERS = {**_PARAMIKO, MSG_CHANNEL_CLOSE: _handle_close}
"""paramiko's handlers of a channel's messages, with `in_order` for the CLOSE."""


class Tunnel:
    """A bastion's channel to a host, as the socket of another transport, which is its only sender."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def send(self, data: bytes) -> int:
        """As `socket.send`. Raises TimeoutError, and OSError once the channel is closed."""
        channel = self._channel
        with channel.out_buffer_cv:
            if not channel.out_buffer_cv.wait_for(self._may_send, channel.gettimeout()):
                raise TimeoutError
        with in_order(channel):
            return channel.send(data)

    def _may_send(self) -> bool:
        return self._channel.closed or bool(self._channel.eof_sent) or self._channel.out_window_size > 0

    def recv(self, size: int) -> bytes:
        """As `socket.recv`. Raises TimeoutError."""
        return self._channel.recv(size)

    def settimeout(self, seconds: float | None) -> None:
        """Set the timeout of `send` and `recv`."""
        self._channel.settimeout(seconds)

    def close(self) -> None:
        """Close the channel, which wakes a thread in `recv`."""
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException), in_order(self._channel):
            self._channel.close()

    @property
    def closed(self) -> bool:
        """Whether the channel is closed."""
        return self._channel.closed

    _closed = closed
