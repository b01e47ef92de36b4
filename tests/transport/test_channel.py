"""`ChannelPipe` on a channel of paramiko without a network."""

from __future__ import annotations

import pytest
from paramiko.channel import Channel

from fleettrace.transport.fabric.connection import ChannelPipe
from fleettrace.transport.interface import Chunk, Stream
from fleettrace.transport.session import READ_SIZE


@pytest.mark.parametrize("size", [0, 5, READ_SIZE, READ_SIZE + 5])
def test_reads_output_that_arrived_before(size: int) -> None:
    channel = Channel(0)  # with its buffers, but without a network
    channel.in_buffer.feed(b"x" * size)
    channel.in_buffer.close()
    channel.in_stderr_buffer.close()
    pipe, printed = ChannelPipe(channel), b""
    while (chunk := pipe.receive(1.0)) is not None:
        assert chunk == Chunk(Stream.OUT, chunk.data)
        printed += chunk.data
    assert len(printed) == size
