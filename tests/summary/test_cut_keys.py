"""A truncated key may stand for several keys: it is never certified, and raises the bounds of the others."""

from __future__ import annotations

import pytest

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.fleet import FleetSummary
from fleettrace.summary.key import Key


def fleet(*hosts: dict[Key, int]) -> FleetSummary:
    made = FleetSummary()
    for number, counts in enumerate(hosts):
        keys = {key: KeyCount(count) for key, count in counts.items()}
        made.add_host("run", f"host-{number}", {"1": Summary(sum(counts.values()), 0, keys)})
    return made


def test_truncated_key_is_never_certified() -> None:
    [first, second] = fleet({Key(b"u", 9): 100, Key.whole(b"x"): 1}).rank(5)
    assert (first.key, first.requests_max, first.certified) == (Key(b"u", 9), 100, False)
    assert (second.key, second.certified) == (Key.whole(b"x"), True)


@pytest.mark.parametrize(
    ("key", "most"),
    [(b"u12345678", 103), (b"v12345678", 3), (b"u1234567", 3), (b"u", 3)],
)
def test_truncated_requests_raise_upper_bound(key: bytes, most: int) -> None:
    ranked = fleet({Key.whole(key): 3}, {Key(b"u", 9): 100}).rank(5)
    assert next(row for row in ranked if row.key == Key.whole(key)).requests_max == most


def test_truncated_line_may_be_any_longer_key() -> None:
    ranked = fleet({Key.whole(b"user:17"): 3}, {Key(b"user:", 250): 100}).rank(5)
    assert ranked[1].requests_max == 103


def test_truncated_keys_prevent_certification() -> None:
    hosts = {Key.whole(b"top"): 50, Key.whole(b"u12345678"): 3}, {Key(b"u", 9): 49}
    ranked = {row.key: row for row in fleet(*hosts).rank(1)}
    assert not ranked[Key.whole(b"top")].certified
    # Without the truncated key, the same key is certified.
    assert fleet(hosts[0]).rank(1)[0].certified
