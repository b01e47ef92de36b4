"""What several tests of a node share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.transport.interface import Connection, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.binary.traffic import memcached


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    """The process of a memcached of Debian's, for one module."""
    with memcached(Path(DEBIAN)) as (number, _):
        yield number


@pytest.fixture
def here() -> Iterator[Connection]:
    """A connection to this machine."""
    connection = LocalTransport().connect(Target("here"))
    yield connection
    connection.close()
