"""Counts by descriptor and address become counts by client, and nothing is lost or invented."""

from __future__ import annotations

import struct

import pytest

from fleettrace.summary.clients import ALL, UNIX, ClientKey, address_text, by_client
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key


def asker(number: int, descriptor: int = 0, family: int | None = None, address: bytes = bytes(16)) -> Key:
    seen = 0 if family is None else 1 << 31 | family
    return Key.whole(struct.pack("<QQ", number | seen << 32, descriptor) + address)


def counted(counts: dict[Key, int]) -> Summary:
    return Summary(
        sum(counts.values()), keys={key: KeyCount(count, ops={"get": count}) for key, count in counts.items()}
    )


def clients(summary: Summary) -> dict[ClientKey, int]:
    return {ClientKey.read(key): count.requests for key, count in summary.keys.items()}


def test_connections_of_one_address_are_one_client() -> None:
    four, six = bytes(8) + bytes([10, 0, 0, 7]) + bytes(4), bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7])
    summary = counted({asker(1, family=2, address=four): 3, asker(1, family=10, address=six): 4, asker(1, 17): 5})
    assert clients(by_client(summary, 1, {17: "10.0.0.7"}.get)) == {ClientKey(1, False, "10.0.0.7"): 12}


def test_unknown_descriptors_count_as_unknown() -> None:
    summary = counted({asker(1, 17): 5, asker(1, family=0): 2, asker(2, 1 << 32): 1, asker(1, family=1): 9})
    found = clients(by_client(summary, 2, lambda _: None))
    assert found == {(1, False, None): 7, (2, False, None): 1, (1, False, UNIX): 9}


def test_total_of_a_key_is_no_second_request() -> None:
    result = by_client(counted({asker(1, 5): 4, asker(1, ALL): 4}), 1, {5: "::1"}.get)
    assert clients(result) == {(1, False, "::1"): 4, (1, True, None): 4}
    assert sum(sum((count.ops or {}).values()) for count in result.keys.values()) == 4


@pytest.mark.parametrize("key", [Key.whole(b"short"), asker(0), asker(3), Key(bytes(32), 40)])
def test_entries_of_no_asked_key_are_dropped(key: Key) -> None:
    assert clients(by_client(counted({key: 1}), 2, lambda _: "1.2.3.4")) == {}


def test_mapped_addresses_show_as_ipv4() -> None:
    assert address_text(bytes(10) + b"\xff\xff\x7f\0\0\1") == "127.0.0.1"
    assert address_text(bytes(15) + b"\1") == "::1"
