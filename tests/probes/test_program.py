"""The text of a program: complete, filtered by process, without anything that a node chose."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeKind, ProbeOptions, TraceSettings, UnsupportedError
from fleettrace.probes.program import ProbeTarget, program, unsafe, uprobe_count
from fleettrace.probes.selection import preview

LAYOUT = key_layout((0, 17, 0))
SETTINGS = TraceSettings(10.0, printed=345)


@pytest.fixture(params=[ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND])
def text(request: pytest.FixtureRequest) -> str:
    return program([ProbeTarget(preview(ProbeOptions(request.param)), (11, 12))], LAYOUT, SETTINGS)


def test_program_has_no_variables_and_no_comments(text: str) -> None:
    assert "${" not in text
    assert "/*" not in text


def test_probe_filters_all_requested_processes(text: str) -> None:
    assert text.count("uprobe:") == 1
    assert "uprobe:/proc/11/exe:" in text
    assert "/pid == 11 || pid == 12/" in text


def test_braces_and_parentheses_are_balanced(text: str) -> None:
    for opening, closing in ("{}", "()", "[]"):
        assert text.count(opening) == text.count(closing)


def test_program_has_the_requested_times_and_limits(text: str) -> None:
    assert "interval:ms:1000" in text
    assert ">= 10000000000)" in text
    assert set(re.findall(r"print\(@\w+, (\d+)\)", text)) == {"345"}


def test_intervals_surround_the_probes(text: str) -> None:
    kinds = re.findall(r"^(uprobe|uretprobe|tracepoint|interval):", text, re.MULTILINE)
    assert kinds[0] == kinds[-1] == "interval"


def test_program_has_no_begin_or_end(text: str) -> None:
    assert not re.search(r"^\s*(BEGIN|END)\b", text, re.MULTILINE)


def test_uprobe_count_is_that_of_the_program() -> None:
    targets = [
        ProbeTarget(preview(ProbeOptions(ProbeKind.ITEM)), (11,)),
        ProbeTarget(preview(ProbeOptions(ProbeKind.ITEM)), (21, 22)),
    ]
    text = program(targets, LAYOUT, SETTINGS)
    assert len(re.findall(r"^uprobe:", text, re.MULTILINE)) == 2
    assert len(re.findall(r"^(uprobe|interval):", text, re.MULTILINE)) == uprobe_count(targets)


def with_attach_point(name: str) -> ProbeTarget:
    return ProbeTarget(replace(preview(ProbeOptions(ProbeKind.ITEM)), attach_point=name), (1,))


@pytest.mark.parametrize("attach_point", ["", "a b", "x{", "do_item_get\n", "system(", "a/b", "0x", "167e0", "do-it"])
def test_program_refuses_invalid_attach_point(attach_point: str) -> None:
    with pytest.raises(ValueError, match="not the name of a function"):
        program([with_attach_point(attach_point)], LAYOUT, SETTINGS)


@pytest.mark.parametrize("probe_kind", [ProbeKind.WATCH])
def test_preview_refuses_kind_without_a_program(probe_kind: ProbeKind) -> None:
    with pytest.raises(UnsupportedError, match=f"`{probe_kind}` has no program"):
        preview(ProbeOptions(probe_kind))


def test_probe_reads_the_current_map_once(text: str) -> None:
    """Between two reads it may change, and then neither map would count the request."""
    assert text.partition("\ninterval:")[0].count("@w_NONCE") == 1


@pytest.mark.parametrize(("attach_point", "expected"), [("do_item_get", False), ("0x167e0", True)])
def test_unsafe_is_needed_for_a_bare_address(attach_point: str, expected: bool) -> None:
    targets = [with_attach_point(attach_point)]
    assert unsafe(targets, program(targets, LAYOUT, SETTINGS)) is expected
