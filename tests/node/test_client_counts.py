"""Requests by client from the printed maps of `--clients`: whatever is not certain has an unknown client."""

from __future__ import annotations

import struct

from fleettrace.node.client_counts import ClientCounts
from fleettrace.node.entries import Entry
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.host_clients import HostClients
from fleettrace.summary.key import Key

PID, OTHER_PID = 41, 42
ACCEPTED = 1 << 23
OLD = {5: "10.0.0.5"}
"""The only descriptor with a known peer."""


def pair(key: bytes, client: int, requests: int, *, pid: int = PID, length: int | None = None) -> Entry:
    about = client << 8 | (len(key) if length is None else length)
    return Entry(pid, about >> 16, about & 0xFFFF, key.ljust(72, b"\0"), requests, False)


def long_pair(key: bytes, client: int, requests: int, mixed: int = 1) -> Entry:
    return pair(key[:56] + key[-8:] + struct.pack("<Q", mixed), client, requests, length=len(key))


def peer(number: int, address: bytes, *, family: int = 2, pid: int = PID) -> Entry:
    data = struct.pack("<Q", family) + address.rjust(12, b"\0").ljust(16, b"\0")
    return Entry(pid, 0, 24, data[:24], number, False)


def counted(
    *pairs: Entry, by_client: dict[int, int] | None = None, peers: tuple[Entry, ...] = (), total: int = 100
) -> HostClients:
    numbers = {PID << 32 | client: requests for client, requests in (by_client or {}).items()}
    keys = {Key.whole(key): KeyCount(1) for key in (b"short", LONG, ALIKE)}
    return ClientCounts(numbers, pairs, peers).of_process(PID, Summary(total, 0, keys), OLD.get)


LONG, ALIKE = b"l" * 60 + b"middle" + b"l" * 60, b"l" * 60 + b"MIDDLE" + b"l" * 60


def test_descriptor_without_known_peer_is_unknown() -> None:
    found = counted(by_client={5: 70, 6: 20})
    assert (found.clients, found.known, found.requests) == ({"10.0.0.5": 70}, 70, 100)


def test_accepted_connection_has_its_address() -> None:
    address = peer(1, bytes((10, 0, 0, 9)))
    found = counted(by_client={ACCEPTED | 1: 7, ACCEPTED | 2: 3, ACCEPTED: 2}, peers=(address,))
    assert (found.clients, found.known) == ({"10.0.0.9": 7}, 7)


def test_old_and_new_connection_of_client_add_up() -> None:
    found = counted(by_client={ACCEPTED | 1: 7, 5: 70}, peers=(peer(1, bytes((10, 0, 0, 5))),))
    assert found.clients == {"10.0.0.5": 77}


def test_addresses_of_another_process_do_not_count() -> None:
    address = peer(1, bytes((10, 0, 0, 9)), pid=OTHER_PID)
    assert counted(by_client={ACCEPTED | 1: 7}, peers=(address,)).clients == {}


def test_pairs_have_whole_short_keys() -> None:
    found = counted(pair(b"short", 5, 9), pair(b"short", 6, 4), pair(b"short", 5, 50, pid=OTHER_PID))
    assert found.keys == {Key.whole(b"short"): {"10.0.0.5": 9}}


def test_long_key_alike_in_its_ends_is_unknown() -> None:
    keys = {Key.whole(LONG): KeyCount(1)}
    known = ClientCounts({}, [long_pair(LONG, 5, 3)], []).of_process(PID, Summary(9, 0, keys), OLD.get)
    assert known.keys == {Key.whole(LONG): {"10.0.0.5": 3}}
    both = [long_pair(LONG, 5, 3), long_pair(ALIKE, 5, 2, mixed=2)]
    assert ClientCounts({}, both, []).of_process(PID, Summary(9, 0, keys), OLD.get).keys == {}
    assert counted(long_pair(LONG, 5, 3)).keys == {}


def test_more_requests_than_counted_are_not_used() -> None:
    for lie in (counted(by_client={5: 1 << 40}), counted(pair(b"short", 5, 1 << 40))):
        assert (lie.clients, lie.keys, lie.known) == ({}, {}, 0)
