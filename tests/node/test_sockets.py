"""The sockets of a process are read with their peers, and a descriptor names a client only while that is certain."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.node.sockets import Sockets, peer_of, read_sockets
from fleettrace.summary.clients import UNIX
from fleettrace.transport.interface import Connection, Target
from fleettrace.transport.local.transport import LocalTransport


@pytest.fixture
def connection() -> Iterator[Connection]:
    transport = LocalTransport()
    made = transport.connect(Target("here"))
    yield made
    made.close()
    transport.close()


@pytest.mark.parametrize(
    ("family", "server", "client"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.9"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_peer_of_a_connection_is_read(connection: Connection, family: int, server: str, client: str) -> None:
    with socket.create_server((server, 0), family=family) as listening, socket.socket(family) as there:
        there.bind((client, 0))
        there.connect(listening.getsockname()[:2])
        here, _ = listening.accept()
        with here:
            sockets = read_sockets(connection, [os.getpid()])[os.getpid()]
            assert sockets.peers[sockets.inodes[here.fileno()]] == client


def test_unix_sockets_have_no_address(connection: Connection) -> None:
    one, other = socket.socketpair()
    with one, other:
        sockets = read_sockets(connection, [os.getpid()])[os.getpid()]
        assert sockets.peers[sockets.inodes[one.fileno()]] == UNIX


@pytest.mark.parametrize("name", ["x 9999 -> socket:[77]", "x\nl 1 root 9999 -> socket:[77]", "socket:[77]"])
def test_files_named_like_sockets_are_none(connection: Connection, tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("w") as file:
        sockets = read_sockets(connection, [os.getpid()])[os.getpid()]
        assert 77 not in sockets.inodes.values()
        assert file.fileno() not in sockets.inodes


def test_process_that_ended_has_no_sockets(connection: Connection) -> None:
    assert read_sockets(connection, [4_194_300]) == {4_194_300: Sockets()}


BEFORE = Sockets({5: 100, 6: 101, 7: 102}, {100: "10.0.0.1", 101: "10.0.0.2"})


@pytest.mark.parametrize(
    ("descriptor", "later", "client"),
    [
        (5, [Sockets({5: 100})], "10.0.0.1"),
        (5, [Sockets({5: 100}), Sockets({5: 300})], "10.0.0.1"),
        (5, [Sockets({5: 300}), Sockets({5: 300})], None),
        (5, [], None),
        (7, [Sockets({7: 102})], None),
        (9, [Sockets({9: 900}, {900: "10.0.0.9"})], None),
    ],
    ids=["same", "closed later", "used again", "never read again", "not TCP", "new"],
)
def test_descriptor_names_one_client_or_none(descriptor: int, later: list[Sockets], client: str | None) -> None:
    assert peer_of(BEFORE, later)(descriptor) == client
