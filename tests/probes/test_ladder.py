"""A kind of request that a binary does not show is refused, or looked for in another way."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.probes.model import ProbeKind, ProbeOptions
from fleettrace.probes.selection import UnsupportedError, choose
from tests.binary.builds import build, stripped


@pytest.fixture(scope="module")
def unstripped() -> BinaryAnalysis:
    return analyse(build("plain").read_bytes())


def without_fetches(analysis: BinaryAnalysis) -> BinaryAnalysis:
    """The analysis of a binary that has no do_update, such as 1.4.15: no fetch is known as one."""
    sites = (site for site in analysis.call_sites if site.operation is not None and site.operation.value != "get")
    return replace(analysis, call_sites=tuple(replace(site, fetch=None) for site in sites))


def test_a_kind_that_is_shown_is_counted_by_look_ups(unstripped: BinaryAnalysis) -> None:
    assert choose(unstripped, ProbeOptions(ops=frozenset({"get", "set"}))).probe_kind is ProbeKind.ITEM


@pytest.mark.parametrize("op", ["get", "other"])
def test_a_kind_that_is_not_shown_is_counted_by_lines(unstripped: BinaryAnalysis, op: str) -> None:
    assert choose(without_fetches(unstripped), ProbeOptions(ops=frozenset({op}))).probe_kind is ProbeKind.COMMAND


@pytest.mark.parametrize("op", ["get", "other"])
def test_a_kind_that_is_not_shown_is_refused_where_the_probe_is_given(unstripped: BinaryAnalysis, op: str) -> None:
    with pytest.raises(UnsupportedError, match=f"which requests are {op} "):
        choose(without_fetches(unstripped), ProbeOptions(ProbeKind.ITEM, ops=frozenset({op})))


def test_a_located_function_is_less_certain_than_a_named_one(unstripped: BinaryAnalysis) -> None:
    assert choose(unstripped).certain
    assert not choose(analyse(stripped("plain").read_bytes())).certain


def test_call_sites_of_unknown_kind_have_a_tag_of_their_own(unstripped: BinaryAnalysis) -> None:
    [first, *others] = unstripped.call_sites
    tagging = choose(replace(unstripped, call_sites=(replace(first, operation=None, fetch=None), *others))).tagging
    assert tagging.ops is not None
    assert tagging.ops[:2] == (None, None)
    assert None not in tagging.ops[2:]
    assert re.search(rf"\$caller == {first.return_address & 0xFFF:#x}\b[^{{]*\{{ \$tag = 1; \}}", tagging.statements)


def test_counting_twice_is_named_where_it_is_not_recognised(unstripped: BinaryAnalysis) -> None:
    plan = choose(unstripped)
    assert plan.tagging.repeats == 2
    assert "counts twice" not in plan.verdict.why
    sites = tuple(replace(site, repeats=site.repeats[:1]) for site in unstripped.call_sites)
    assert "counts twice" in choose(replace(unstripped, call_sites=sites)).verdict.why


def test_one_way_to_create_a_counter_is_enough_before_meta(unstripped: BinaryAnalysis) -> None:
    sites = [replace(site, repeats=site.repeats[:1]) for site in unstripped.call_sites]
    new = replace(unstripped, call_sites=tuple(sites))
    assert "counts twice" in choose(new).verdict.why
    assert "counts twice" not in choose(replace(new, version="1.5.6")).verdict.why


def test_a_second_look_up_that_looks_like_another_call_is_not_told_apart(unstripped: BinaryAnalysis) -> None:
    [store] = [site for site in unstripped.call_sites if site.repeats]
    double = replace(store, return_address=store.return_address + 0x1000, operation=None, repeats=())
    assert choose(replace(unstripped, call_sites=(*unstripped.call_sites, double))).tagging.repeats == 0
