"""A program is whole, filters by process, and holds nothing that a node chose."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeKind, ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget, program, unsafe, uprobe_count
from fleettrace.probes.selection import UnsupportedError, preview

LAYOUT = key_layout((0, 17, 0))
SETTINGS = TraceSettings(10.0, printed=345)


@pytest.fixture(params=[ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND])
def text(request: pytest.FixtureRequest) -> str:
    return program([ProbeTarget(preview(ProbeOptions(request.param)), (11, 12))], LAYOUT, SETTINGS)


def test_every_word_is_filled_in_and_no_comment_is_sent(text: str) -> None:
    assert "${" not in text
    assert "/*" not in text


def test_a_probe_sits_on_one_process_of_its_binary_and_counts_all_that_were_asked_for(text: str) -> None:
    assert text.count("uprobe:") == 1
    assert "uprobe:/proc/11/exe:" in text
    assert "/pid == 11 || pid == 12/" in text


def test_braces_and_parentheses_are_closed(text: str) -> None:
    for opening, closing in ("{}", "()", "[]"):
        assert text.count(opening) == text.count(closing)


def test_the_times_and_limits_are_the_ones_asked_for(text: str) -> None:
    assert "interval:ms:1000" in text
    assert ">= 10000000000)" in text
    assert set(re.findall(r"print\(@\w+, (\d+)\)", text)) == {"345"}


def test_a_clock_stands_before_and_behind_every_probe(text: str) -> None:
    kinds = re.findall(r"^(uprobe|uretprobe|tracepoint|interval):", text, re.MULTILINE)
    assert kinds[0] == kinds[-1] == "interval"


def test_begin_and_end_are_done_without(text: str) -> None:
    assert not re.search(r"^\s*(BEGIN|END)\b", text, re.MULTILINE)


def test_each_binary_has_a_probe_and_all_are_counted() -> None:
    sites = [
        ProbeTarget(preview(ProbeOptions(ProbeKind.ITEM)), (11,)),
        ProbeTarget(preview(ProbeOptions(ProbeKind.ITEM)), (21, 22)),
    ]
    text = program(sites, LAYOUT, SETTINGS)
    assert len(re.findall(r"^uprobe:", text, re.MULTILINE)) == 2
    assert len(re.findall(r"^(uprobe|interval):", text, re.MULTILINE)) == uprobe_count(sites)


@pytest.mark.parametrize("point", ["", "a b", "x{", "do_item_get\n", "system(", "a/b", "0x", "167e0", "do-it"])
def test_what_is_no_functions_name_is_refused(point: str) -> None:
    with pytest.raises(ValueError, match="not the name of a function"):
        program([ProbeTarget(replace(preview(ProbeOptions(ProbeKind.ITEM)), point=point), (1,))], LAYOUT, SETTINGS)


@pytest.mark.parametrize("probe_kind", [ProbeKind.WATCH])
def test_a_rung_without_a_program_says_so(probe_kind: ProbeKind) -> None:
    with pytest.raises(UnsupportedError, match=f"`{probe_kind}` has no program"):
        preview(ProbeOptions(probe_kind))


def test_a_probe_reads_whose_turn_it_is_once(text: str) -> None:
    """Read twice it may change in between, and a request would count for neither map."""
    assert text.partition("\ninterval:")[0].count("@w_NONCE") == 1


@pytest.mark.parametrize(("point", "expected"), [("do_item_get", False), ("0x167e0", True)])
def test_a_bare_address_needs_unsafe(point: str, expected: bool) -> None:
    sites = [ProbeTarget(replace(preview(ProbeOptions(ProbeKind.ITEM)), point=point), (1,))]
    assert unsafe(sites, program(sites, LAYOUT, SETTINGS)) is expected
