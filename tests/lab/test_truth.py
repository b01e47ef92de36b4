"""Truths are added and survive JSON."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fleettrace.lab.truth import OP_OF_VERB, TracedInstance, Truth

rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]), st.integers(1, 3), st.sampled_from(sorted(OP_OF_VERB)), st.binary(max_size=9)
    )
)


def truth_of(given_rows: list[tuple[str, int, str, bytes]]) -> Truth:
    truth = Truth()
    for host, port, verb, key in given_rows:
        truth.add(TracedInstance(host, port), verb, [key])
    return truth


@given(rows, rows)
def test_truths_add_up(left: list[tuple[str, int, str, bytes]], right: list[tuple[str, int, str, bytes]]) -> None:
    both = truth_of(left) + truth_of(right)
    assert both == truth_of(left + right)
    assert both.total() == len(left) + len(right)


@given(rows)
def test_truth_survives_json(some: list[tuple[str, int, str, bytes]]) -> None:
    assert Truth.from_json(truth_of(some).to_json()) == truth_of(some)


def test_multiget_is_one_request_for_each_key() -> None:
    truth = Truth()
    truth.add(TracedInstance("a", 1), "get", [b"x", b"y", b"x"])
    assert truth.by_key() == Counter({b"x": 2, b"y": 1})
    assert truth.by_op("a", 1) == Counter({(b"x", "get"): 2, (b"y", "get"): 1})
    assert truth.total("b") == 0
