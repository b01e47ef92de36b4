"""A command behind an SSH channel is read to its end, however early that comes."""

from __future__ import annotations

import pytest
from paramiko.channel import Channel

from fleettrace.transport.fabric.transport import ChannelPipe
from fleettrace.transport.interface import Chunk, Stream
from fleettrace.transport.session import READ_SIZE


@pytest.mark.parametrize("size", [0, 5, READ_SIZE, READ_SIZE + 5])
def test_the_end_is_seen_where_all_came_before_anybody_listened(size: int) -> None:
    channel = Channel(0)  # paramiko's own buffers, and no network below them
    channel.in_buffer.feed(b"x" * size)
    channel.in_buffer.close()
    channel.in_stderr_buffer.close()
    pipe, printed = ChannelPipe(channel), b""
    while (chunk := pipe.receive(1.0)) is not None:
        assert chunk == Chunk(Stream.OUT, chunk.data)
        printed += chunk.data
    assert len(printed) == size
