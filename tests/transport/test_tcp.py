"""A controller that is too busy to keep its own connect timeout says so of itself, and of no host."""

from __future__ import annotations

import time

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.transport.fabric.tcp import dial


def test_a_connection_that_is_tried_too_late() -> None:
    with pytest.raises(HostError, match="is the controller busy") as caught:
        dial("127.0.0.1", 1, time.monotonic() - 1)
    assert (caught.value.state, caught.value.code) == (HostState.UNREACHABLE, "connect-timeout")
