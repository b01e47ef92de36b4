"""Connecting over TCP: the deadline."""

from __future__ import annotations

import time

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.transport.fabric.tcp import connect_tcp


def test_late_attempt_blames_the_controller() -> None:
    with pytest.raises(HostError, match="is the controller overloaded") as caught:
        connect_tcp("127.0.0.1", 1, time.monotonic() - 1)
    assert (caught.value.state, caught.value.code) == (HostState.UNREACHABLE, "connect-timeout")
