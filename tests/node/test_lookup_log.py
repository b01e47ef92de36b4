"""Lines of `watch fetchers`, as memcached and as a lying server writes them."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.lookup_log import LookupLog
from fleettrace.summary.counts import Summary

NOW = 1_795_720_581.0


def line(key: bytes, at: float = NOW, kind: bytes = b"item_get") -> bytes:
    seconds, micros = divmod(round(at * 1e6), 1_000_000)
    stamp = b"ts=%d.%d gid=7 " % (seconds, micros)
    return stamp + b"type=" + kind + b" key=" + key + b" status=found clsid=1 cfd=24 size=3\n"


def logged(*parts: bytes, most: int = 1000) -> tuple[LookupLog, Summary]:
    log = LookupLog(most)
    for part in parts:
        log.feed(part, NOW)
    return log, log.summary(None)


def counts(summary: Summary) -> dict[bytes, int]:
    return {key.data: count.requests for key, count in summary.keys.items()}


def test_lookups_are_counted_by_key() -> None:
    _, summary = logged(line(b"a") * 3 + line(b"b%20c%25") + line(b"a", kind=b"item_store") + b"ts=1.2 gid=3 conn\n")
    assert counts(summary) == {b"a": 3, b"b c%": 1}
    assert (summary.total, summary.absent, summary.timeline) == (4, 0, [4])


def test_dropped_lines_widen_every_bound() -> None:
    log, summary = logged(line(b"a") + b"skipped=41\n[skipped: 1]\n" + line(b"a"))
    assert (log.skipped, summary.absent) == (42, 42)
    assert [count.upper(summary.absent) for count in summary.keys.values()] == [44]


def test_missing_lines_widen_every_bound() -> None:
    log = LookupLog(1000)
    log.feed(line(b"a") * 10, NOW)
    assert log.summary(25).absent == 15


@pytest.mark.parametrize("key", [b"k" * 251, b"%41" * 251, b"a%", b"a%4", b"a%zz", b"k" * 1500])
def test_impossible_keys_are_never_listed(key: bytes) -> None:
    _, summary = logged(line(key) + line(b"a"))
    assert counts(summary) == {b"a": 1}


def test_longest_key_is_counted() -> None:
    _, summary = logged(line(b"%ff" * 250))
    assert counts(summary) == {b"\xff" * 250: 1}


@given(st.lists(st.integers(1, 300), max_size=30))
def test_lines_are_counted_wherever_they_are_cut(sizes: list[int]) -> None:
    text = line(b"a") * 9 + b"x" * 3000 + b"\n" + line(b"b") * 4 + b"skipped=2\n"
    parts, start = [], 0
    for size in sizes:
        parts.append(text[start : start + size])
        start += size
    log, summary = logged(*parts, text[start:])
    assert counts(summary) == {b"a": 9, b"b": 4}
    assert log.skipped == 2


def test_endless_line_takes_no_memory() -> None:
    log = LookupLog(1000)
    tracemalloc.start()
    for _ in range(200):
        log.feed(b"x" * 65536, NOW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    log.feed(b"\n" + line(b"a"), NOW)
    assert counts(log.summary(None)) == {b"a": 1}


def test_more_keys_than_stored_widen_the_bounds() -> None:
    log, summary = logged(line(b"hot") * 50, *(line(b"k%d" % number) for number in range(400)), most=20)
    assert log.total == summary.total == 450
    assert len(summary.keys) <= 30
    assert summary.lower(next(iter(summary.keys))) == 50
    assert summary.absent >= 1


def test_lines_after_the_window_are_left_out() -> None:
    log = LookupLog(1000)
    log.feed(line(b"a", NOW - 0.2), NOW)
    log.end_window(NOW)
    log.feed(line(b"a", NOW - 0.1) + line(b"a", NOW + 0.1), NOW + 1)
    assert counts(log.summary(None)) == {b"a": 2}


@pytest.mark.parametrize("behind", [-3600.0, -0.5, 0.5, 3600.0])
def test_window_ends_by_the_servers_clock(behind: float) -> None:
    log = LookupLog(1000)
    for number in range(20):
        now = NOW + number / 10
        log.feed(line(b"a", now - behind), now)
    log.end_window(NOW + 2)
    log.feed(line(b"a", NOW + 1.9 - behind) + line(b"a", NOW + 2.1 - behind), NOW + 3)
    assert counts(log.summary(None)) == {b"a": 21}
