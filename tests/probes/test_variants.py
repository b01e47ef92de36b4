"""What is tried when a kernel refuses a program: first what loses nothing, never what was asked for by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.probes.model import ProbeKind, ProbeOptions, Script
from fleettrace.probes.variants import Variant, variants

EVERYTHING = ProbeOptions(misses=True, sizes=True)


def test_the_first_variants_lose_nothing() -> None:
    first, second, *_ = variants(EVERYTHING)
    assert (first.options(EVERYTHING), first.lost(EVERYTHING)) == (EVERYTHING, "")
    assert (second.options(EVERYTHING), second.lost(EVERYTHING)) == (EVERYTHING, "")
    assert (first.other_bound, second.other_bound) == (False, True)


def test_misses_and_sizes_go_before_kinds_and_kinds_before_the_probe() -> None:
    lost = [variant.lost(EVERYTHING) for variant in variants(EVERYTHING)]
    assert lost == [
        "",
        "",
        "misses",
        "sizes",
        "misses and sizes",
        "misses, sizes and kinds of requests",
        "misses, sizes and kinds of requests",
        "the probe kind item",
        "the probe kind usdt",
        "the probe kind command",
    ]


def test_without_misses_and_sizes_no_variant_names_them() -> None:
    assert not any("misses" in variant.lost(ProbeOptions()) for variant in variants(ProbeOptions()))
    assert len({variant.options(ProbeOptions()) for variant in variants(ProbeOptions())}) == 2


def test_requested_kinds_are_never_given_up() -> None:
    wish = replace(EVERYTHING, probe_kind=ProbeKind.ITEM, ops=frozenset({"get"}))
    assert all(variant.options(wish).kinds for variant in variants(wish))


@pytest.mark.parametrize("probe_kind", [ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND, ProbeKind.SYSCALL])
def test_a_forced_probe_kind_is_never_left(probe_kind: ProbeKind) -> None:
    assert not any(variant.refused for variant in variants(ProbeOptions(probe_kind)))


def test_a_program_of_the_users_own_is_only_bounded_otherwise() -> None:
    wish = ProbeOptions(script=Script("own.bt", "", "own"))
    assert list(variants(wish)) == [Variant(), Variant(other_bound=True)]
