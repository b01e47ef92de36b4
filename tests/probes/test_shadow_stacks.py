"""No probe ends a process with a user shadow stack. Recorded text: no machine with shadow stacks was at hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.binary.analysis import ProbedFunction, analyse
from fleettrace.node.discovery import parse_discovery
from fleettrace.probes.model import ProbeKind, ProbeOptions, UnsupportedError
from fleettrace.probes.optimized_uprobes import choose_for_kernel
from fleettrace.probes.shadow_stacks import NO_MISSES, breaks_return_probes
from tests.binary.builds import build
from tests.node.reports import node


@pytest.mark.parametrize(
    ("kernel", "broken"),
    [
        ("6.6.43", True),
        ("6.6.44-1-lts", False),
        ("6.8.0-45-generic", True),
        ("6.9.12", True),
        ("6.10.2", True),
        ("6.10.3", False),
        ("6.11.0", False),
        ("7.1.0", False),
        ("odd", True),
    ],
)
def test_return_probes_are_broken_before_the_fix(kernel: str, broken: bool) -> None:
    assert breaks_return_probes(kernel) is broken


@pytest.mark.parametrize(("kernel", "misses"), [("6.8.0", False), ("6.12.0", True)])
def test_no_return_probe_on_a_kernel_without_the_fix(kernel: str, misses: bool) -> None:
    analysis = replace(analyse(build("plain").read_bytes()), exit=None)
    plan = choose_for_kernel(
        analysis, ProbeOptions(misses=True), overlay_works=True, kernel=kernel, arch="x86_64", shadow_stack=True
    )
    assert (plan.misses is not None) is misses
    assert (NO_MISSES in plan.verdict.why) is not misses


@pytest.mark.parametrize("kernel", ["6.8.0", "6.12.0"])
def test_misses_at_an_exit_need_no_return_probe(kernel: str) -> None:
    analysis = analyse(build("plain").read_bytes())
    plan = choose_for_kernel(
        analysis, ProbeOptions(misses=True), overlay_works=True, kernel=kernel, arch="x86_64", shadow_stack=True
    )
    assert (plan.misses, plan.counts_misses, NO_MISSES in plan.verdict.why) == (None, True, False)


@pytest.mark.parametrize("kernel", ["6.8.0", "6.12.0", "7.1.0"])
def test_no_probe_sits_on_a_call(kernel: str) -> None:
    analysis = analyse(build("plain").read_bytes())
    function = analysis.function("do_item_get")
    assert function is not None
    call = replace(function.cheapest, text="call 0x1000")
    later, first = replace(function, cheapest=call), replace(function, cheapest=call, entry=call)
    options = ProbeOptions(ProbeKind.ITEM)

    def instructions(of: ProbedFunction) -> list[str]:
        given = replace(analysis, functions=(of,))
        plan = choose_for_kernel(given, options, overlay_works=True, kernel=kernel, arch="x86_64", shadow_stack=True)
        return [each.text for each in plan.instructions]

    assert instructions(later) == [function.entry.text]
    with pytest.raises(UnsupportedError, match="shadow stack"):
        instructions(first)


def test_processes_of_one_binary_share_what_one_of_them_has() -> None:
    report = node({b"process": b"7", b"features": b"shstk wrss "}, {b"process": b"8", b"features": b"  "})
    assert [each.shadow_stack for each in parse_discovery(report).instances] == [True, True]
    report = node({b"process": b"7", b"features": b"  "})
    assert [each.shadow_stack for each in parse_discovery(report).instances] == [False]
