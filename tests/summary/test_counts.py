"""Adding summaries is associative and commutative, keeps unknown values unknown, and adds the bounds."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from fleettrace.summary.counts import KeyCount, Summary, add_known, add_timelines
from fleettrace.summary.key import KEY_MAX_LENGTH, Key
from tests.summary.strategies import key_counts, keys, summaries

known = st.none() | st.integers(0, 100)
ops = st.none() | st.dictionaries(st.sampled_from(["get", "set", "touch"]), st.integers(0, 9), max_size=3)
timelines = st.lists(st.integers(0, 9), max_size=5)


def added(*parts: Summary) -> Summary:
    def add(whole: Summary, part: Summary) -> Summary:
        whole.add(part)
        return whole

    return reduce(add, parts, Summary())


@given(summaries, summaries)
def test_add_is_commutative(a: Summary, b: Summary) -> None:
    assert added(a, b) == added(b, a)


@given(summaries, summaries, summaries)
def test_add_is_associative(a: Summary, b: Summary, c: Summary) -> None:
    assert added(added(a, b), c) == added(a, added(b, c))


@given(summaries)
def test_empty_summary_is_neutral(a: Summary) -> None:
    assert added(a, Summary()) == added(Summary(), a) == a


@given(summaries, summaries)
def test_add_does_not_change_argument(a: Summary, b: Summary) -> None:
    before = added(b)
    whole = added(a, b)
    whole.add(a)
    assert b == before


@given(summaries, summaries, keys)
def test_bounds_are_additive(a: Summary, b: Summary, key: Key) -> None:
    whole = added(a, b)
    assert whole.lower(key) == a.lower(key) + b.lower(key)
    assert whole.upper(key) == a.upper(key) + b.upper(key)


@given(known, known)
def test_unknown_part_makes_sum_unknown(a: int | None, b: int | None) -> None:
    assert add_known(a, b) == add_known(b, a)
    assert (add_known(a, b) is None) == (a is None or b is None)


@given(timelines, timelines)
def test_timelines_add_by_bucket(a: list[int], b: list[int]) -> None:
    whole = add_timelines(list(a), b)
    assert len(whole) == max(len(a), len(b))
    assert sum(whole) == sum(a) + sum(b)
    assert whole == add_timelines(list(b), a)


@given(key_counts)
def test_copy_is_equal_and_independent(count: KeyCount) -> None:
    copy = count.copy()
    assert copy == count
    copy.add(count)
    copy.timeline.append(1)
    assert copy != count


def test_key_is_truncated_when_bytes_are_missing() -> None:
    assert not Key.whole(b"x" * KEY_MAX_LENGTH).truncated
    assert Key(b"x" * 64, KEY_MAX_LENGTH).truncated
