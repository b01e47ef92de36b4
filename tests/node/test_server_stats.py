"""memcached's answer to `stats`, and answers that are not one."""

from __future__ import annotations

import pytest

from fleettrace.node.samples import COUNTERS
from fleettrace.node.server_stats import ServerStats, parse_classes, parse_stats

ANSWER = b"STAT pid 7\r\nSTAT version 1.6.18\r\nSTAT cmd_get 3\r\nSTAT cmd_set 4\r\nSTAT get_hits 9\r\nEND\r\n"


def test_requests_are_summed() -> None:
    assert parse_stats(ANSWER) == ServerStats(7, "1.6.18", 7, {"get_hits": 9})


def test_counters_are_without_fleettraces_own() -> None:
    found = parse_stats(ANSWER)
    assert found is not None
    assert found.counters({"get_hits": 4}) == b",".join([b"5"] + [b"-"] * (len(COUNTERS) - 1))


@pytest.mark.parametrize("answer", [b"", b"ERROR\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"STAT x 1\r\nEND\r\n"])
def test_other_answers_are_refused(answer: bytes) -> None:
    assert parse_stats(answer) is None


@pytest.mark.parametrize("number", [b"-1", b"1e9", b"9" * 30, b"\xd9\xa1", b"4 5"])
def test_impossible_counters_are_unknown(number: bytes) -> None:
    found = parse_stats(ANSWER.replace(b"cmd_set 4", b"cmd_set " + number))
    assert found is not None and found.requests is None


def test_one_counter_alone_is_no_sum() -> None:
    assert parse_stats(b"STAT pid 7\r\nSTAT cmd_get 3\r\nEND\r\n") == ServerStats(7, None, None)


def test_classes_have_evictions_and_chunks() -> None:
    items = b"STAT items:1:number 5\r\nSTAT items:1:evicted 7\r\nSTAT items:12:evicted 3\r\nEND\r\n"
    slabs = b"STAT 1:chunk_size 96\r\nSTAT 1:chunks_per_page 10922\r\nSTAT active_slabs 1\r\nEND\r\n"
    assert parse_classes(items, slabs) == {1: (7, 96), 12: (3, None)}
