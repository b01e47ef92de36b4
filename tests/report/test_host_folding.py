"""Folding host names and errors loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.report.host_folding import expand, fold, fold_errors, fold_list

numbers = st.one_of(
    st.integers(0, 1200).map(str), st.integers(0, 120).map("{:03d}".format), st.integers(0, 12).map("{:02d}".format)
)
names = st.one_of(
    st.builds("cache-{}".format, numbers),
    st.builds("r{}-c{}.eu".format, numbers, numbers),
    st.sampled_from(["db", "db1", "10.0.0.1", "10.0.0.2", "-1", "a-1-b"]),
)


@given(st.lists(names, max_size=60))
def test_folding_is_reversible(hosts: list[str]) -> None:
    expanded = [name for item in fold_list(hosts) for name in expand(item)]
    assert sorted(expanded) == sorted(set(hosts))


@given(st.permutations(["cache-001", "cache-002", "cache-007", "db1", "web"]))
def test_the_order_does_not_matter(hosts: list[str]) -> None:
    assert fold(hosts) == "cache-[001-002,007],db1,web"


@pytest.mark.parametrize(
    ("hosts", "folded"),
    [
        ([], ""),
        (["cache-003"], "cache-003"),
        (["cache-003", "cache-017"], "cache-[003,017]"),
        ([f"cache-{number:03d}" for number in range(1, 65)], "cache-[001-064]"),
        ([f"c{number}" for number in range(8, 12)], "c[8-11]"),
        (["c9", "c10", "c010"], "c[9-10,010]"),
        (["c099", "c100"], "c[099-100]"),
        ([f"r{rack}-c{number}" for rack in (1, 2) for number in range(1, 5)], "r[1-2]-c[1-4]"),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.[1-2]"),
        (["odd[1]", "odd[2]"], "odd[1],odd[2]"),
    ],
)
def test_ranges_match_clustershell(hosts: list[str], folded: str) -> None:
    assert fold(hosts) == folded


def test_equal_errors_fold_most_common_first() -> None:
    folded = fold_errors([("c1", "sudo"), ("c2", "down"), ("c3", "down"), ("c3", "down")])
    assert [(item.hosts, item.number, item.message) for item in folded] == [("c[2-3]", 2, "down"), ("c1", 1, "sudo")]


def test_errors_differing_in_own_host_fold() -> None:
    (both,) = fold_errors([("c1", "cannot resolve c1"), ("c2", "cannot resolve c2")])
    assert (both.hosts, both.message) == ("c[1-2]", "cannot resolve <host>")
    (alone,) = fold_errors([("c1", "cannot resolve c1")])
    assert alone.message == "cannot resolve c1"
