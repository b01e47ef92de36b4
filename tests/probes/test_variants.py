"""The variants to try when a kernel refuses a program."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.probes.model import ProbeKind, ProbeOptions, Script
from fleettrace.probes.variants import Variant, variants

EVERYTHING = ProbeOptions(misses=True, sizes=True)


def test_the_first_variants_lose_nothing() -> None:
    first, second, *_ = variants(EVERYTHING)
    assert (first.apply(EVERYTHING), first.lost(EVERYTHING)) == (EVERYTHING, "")
    assert (second.apply(EVERYTHING), second.lost(EVERYTHING)) == (EVERYTHING, "")
    assert (first.other_bound, second.other_bound) == (False, True)


def test_variants_give_up_misses_and_sizes_first() -> None:
    lost = [variant.lost(EVERYTHING) for variant in variants(EVERYTHING)]
    assert lost == [
        "",
        "",
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


def test_unrequested_misses_and_sizes_are_not_lost() -> None:
    assert not any("misses" in variant.lost(ProbeOptions()) for variant in variants(ProbeOptions()))
    assert len({variant.apply(ProbeOptions()) for variant in variants(ProbeOptions())}) == 2


def test_requested_kinds_are_never_given_up() -> None:
    options = replace(EVERYTHING, probe_kind=ProbeKind.ITEM, ops=frozenset({"get"}))
    assert all(variant.apply(options).kinds for variant in variants(options))


@pytest.mark.parametrize("probe_kind", [ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND, ProbeKind.SYSCALL])
def test_forced_probe_kind_is_never_refused(probe_kind: ProbeKind) -> None:
    assert not any(variant.refused for variant in variants(ProbeOptions(probe_kind)))


def test_script_varies_only_its_bounds() -> None:
    options = ProbeOptions(script=Script("own.bt", "", "own"))
    assert list(variants(options)) == [Variant(), Variant(other_bound=True)]
