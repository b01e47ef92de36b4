"""The stats of an instance: known between two answers, else unknown with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.host_counters import NOT_ASKED, host_stats
from fleettrace.node.samples import COUNTERS, ClassSample, Sample, SampleReader
from fleettrace.summary.host_stats import GAUGES, GROWTHS, HostStats

SECOND = 1_000_000_000


def counters(**values: object) -> bytes:
    return b",".join(str(values.get(name, 0)).encode() for name in COUNTERS)


def sample_at(second: float, **values: object) -> Sample:
    return Sample(7, round(second * SECOND), 1, 1, 0, 1, counters(**values))


def classes_at(second: int, evictions: int | None, *classes: tuple[int, int]) -> ClassSample:
    return ClassSample(7, second * SECOND, evictions, {number: (evicted, 1184) for number, evicted in classes})


def over(*samples: Sample, start_s: float = 1, end_s: float = 3) -> HostStats:
    return host_stats(samples, (), round(start_s * SECOND), round(end_s * SECOND))


def test_answers_around_the_window_bound_it() -> None:
    stats = over(*(sample_at(second, evictions=10 * second, threads=second) for second in range(6)), start_s=1.5)
    assert (stats.seconds, stats.evictions, stats.threads) == (2, 20, 3)


def test_answers_inside_serve_where_none_is_outside() -> None:
    stats = over(sample_at(1.5, get_hits=1), sample_at(2.5, get_hits=7))
    assert (stats.seconds, stats.get_hits) == (1, 6)


@pytest.mark.parametrize("samples", [(), (sample_at(2),), (Sample(7, SECOND, 1, None), sample_at(2))])
def test_fewer_than_two_answers_show_nothing(samples: tuple[Sample, ...]) -> None:
    stats = over(*samples)
    assert all(getattr(stats, name) is None for name in (*GROWTHS, *GAUGES, "seconds"))
    assert set(stats.unknown) == {*GROWTHS, *GAUGES, "seconds", "evicting_class"}


def test_instance_without_port_was_not_asked() -> None:
    assert host_stats((), (), 0, 1, asked=False).unknown["evictions"] == NOT_ASKED


def test_counter_that_went_back_is_unknown() -> None:
    stats = over(*(sample_at(second, evictions=count, get_hits=5) for second, count in ((1, 9), (2, 3), (3, 20))))
    assert stats.evictions is None
    assert stats.unknown["evictions"] == "the counter went back, so it was reset"
    assert stats.get_hits == 0


def test_absent_counter_is_unknown() -> None:
    stats = over(sample_at(1, get_expired="-"), sample_at(3, get_expired="-"))
    assert stats.get_expired is None
    assert stats.unknown["get_expired"] == "memcached does not report it"


def test_number_beyond_64_bits_is_unknown() -> None:
    stats = over(sample_at(1, bytes_read=0, threads=4), sample_at(3, bytes_read=2**64, threads=2**63))
    assert (stats.bytes_read, stats.threads) == (None, None)
    assert "memcached reported no number of 63 bits" in stats.unknown["threads"]


def test_hit_ratio_needs_lookups() -> None:
    assert over(sample_at(1), sample_at(3)).hit_ratio is None
    assert over(sample_at(1), sample_at(3, get_hits=3, get_misses=1)).hit_ratio == 0.75


def evicting(*samples: ClassSample) -> HostStats:
    return host_stats((sample_at(1), sample_at(3)), samples, SECOND, 3 * SECOND)


def test_class_that_evicts_most_is_named() -> None:
    stats = evicting(classes_at(0, 100, (5, 90), (12, 10)), classes_at(4, 210, (5, 95), (12, 114), (13, 1)))
    one = stats.evicting_class
    assert one is not None
    assert (one.number, one.evictions, one.seconds, one.chunk_size) == (12, 104, 4, 1184)
    assert one.share == pytest.approx(104 / 110)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ((), "memcached did not answer `stats items`"),
        ((classes_at(0, 0), classes_at(4, 0, (3, 0))), "nothing was evicted"),
        ((classes_at(0, 9, (3, 9)), classes_at(4, 0, (3, 0))), "the counter went back"),
        ((classes_at(0, 9), classes_at(4, 20, (3, 20))), "a class appeared in between"),
    ],
)
def test_unknown_class_has_its_reason(samples: tuple[ClassSample, ...], reason: str) -> None:
    stats = evicting(*samples)
    assert stats.evicting_class is None
    assert stats.unknown["evicting_class"].startswith(reason)


@given(st.binary(max_size=300))
def test_reader_takes_only_numbers_as_counters(noise: bytes) -> None:
    reader = SampleReader()
    reader.feed(b"\x007 100 101 5 9 8 " + noise + b"\x00" + b"\x007 100 classes 1 " + noise + b"\x00")
    for sample in reader.samples:
        assert sample.counters == b"" or len(sample.counters.split(b",")) == len(COUNTERS)
        assert sample.counters.replace(b",", b"").replace(b"-", b"").isdigit() or not sample.counters.strip(b",-")


def test_classes_arrive_in_pieces() -> None:
    text = b"\x007 100 classes 5 12:5:1184,13:0:-\x00"
    for size in range(1, len(text)):
        reader = SampleReader()
        other = b"".join(reader.feed((b"x" + text + b"y")[at : at + size]) for at in range(0, len(text) + 2, size))
        assert other == b"xy"
        assert reader.classes[7][0] == ClassSample(7, SECOND, 5, {12: (5, 1184), 13: (0, None)})
