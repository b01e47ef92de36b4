"""The table report: order of sections, width, escaping."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.formats import Output
from fleettrace.report.interface import FormatOptions
from fleettrace.summary.run import RunResult, Warn
from tests.report.examples import HOSTILE, add_host, count, failed, new_run, realistic, small

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def screen(run: RunResult, width: int | None = 80, *, top: int = 20, color: bool = False, unicode: bool = True) -> str:
    out = io.StringIO()
    options = FormatOptions(width=width, color=color, unicode=unicode)
    Output.TABLE.formatter(options).write(build_report(run, top=top), out)
    return out.getvalue()


def hostile() -> RunResult:
    run = new_run("\x1b[2J[bold]")
    add_host(run, "\x1b[31mhost", {key: count([index + 1] * 10) for index, key in enumerate(HOSTILE)})
    failed(run, "c2", HostState.TRACE_FAILED, "bpftrace", "\x1b]0;x\x07 [red]text[/red] \u202e\nand more")
    return run


def test_order_of_sections() -> None:
    text = screen(realistic())
    sections = ["requests/s", "\nHOSTS", "\nKEYS", "\nFAMILIES OF KEYS", "\nPROBLEMS"]
    places = [text.index(section) for section in sections]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [80, 81, 100, 120, 140, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_lines_fit_terminal(width: int, unicode: bool) -> None:
    for run in (realistic(), hostile()):
        lines = screen(run, width, unicode=unicode).splitlines()
        assert max(cell_len(line) for line in lines) <= width


def test_cause_and_missing_are_in_first_lines() -> None:
    first = "\n".join(screen(realistic()).splitlines()[:24])
    assert "cache-017 is at 2.15x the mean; without user:1:profile it would be at 0.97x" in first
    assert "missing: cache-[003,040-041]" in first
    assert "config:feature-flags" in first


def test_long_cause_gets_second_line() -> None:
    run = small()
    name = b"a-service-with-a-long-name:its-object:0123456789"
    add_host(run, "cache-003", {name: count([0] * 7 + [9_000] * 3)}, unlisted=500)
    cause = r"without a-serv\S+456789 \(late, from 7 s\) it would be at [\d.]+x"
    assert re.search(rf"\n  → cache-003 is at [\d.]+x the mean;\n    {cause}\n", screen(run, 80))
    assert re.search(rf"\n  → cache-003 is at [\d.]+x the mean; {cause}\n", screen(run, 140))


def test_late_and_burst_show_start() -> None:
    text = screen(realistic(), 140)
    assert re.search(r"promo:.*late, from 7 s", text)
    assert re.search(r"lock:.*burst at 4 s", text)


def test_family_without_hot_member_is_marked() -> None:
    assert re.search(r"sess:\{\}  no hot member", screen(realistic()))


def test_equal_errors_are_folded() -> None:
    assert "  cache-[040-041]: no route to" in screen(realistic())


def test_bound_is_shown_for_inexact_counts() -> None:
    assert "≤" not in screen(small())
    lines = screen(realistic(), 140).splitlines()
    assert "≤48,350" in next(line for line in lines if line.endswith("user:1:profile"))
    assert "≤" not in next(line for line in lines if line.endswith("config:feature-flags"))


def test_certified_keys_are_marked() -> None:
    lines = screen(small()).splitlines()
    assert any(line.startswith("KEYS  ✓ 3 of 3 certified") for line in lines)
    assert sum(line.startswith("  ✓") for line in lines) == 3


def test_pipe_has_no_color_or_shortening() -> None:
    text = screen(realistic(), None)
    assert "\x1b" not in text
    assert "…" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_color_changes_no_text() -> None:
    colored = screen(realistic(), 100, color=True)
    assert "\x1b[" in colored
    plain = [ANSI.sub("", line).rstrip() for line in colored.splitlines()]
    assert plain == screen(realistic(), 100).splitlines()


def test_ascii_only_output() -> None:
    run = realistic()
    text = screen(run, 100, unicode=False)
    assert text.isascii()
    assert "->" in text


@pytest.mark.parametrize("width", [80, 140, None])
def test_hostile_names_are_escaped(width: int | None) -> None:
    text = screen(hostile(), width, top=100)
    assert all(char == "\n" or char.isprintable() for char in text)
    assert "[bold red]markup[/]" in text
    assert "[red]text[/red]" in text


def test_large_fleet_lists_only_hottest_hosts() -> None:
    small_fleet = re.findall(r"^  cache-\d+ +ok", screen(realistic(10)), re.MULTILINE)
    large_fleet = re.findall(r"^  cache-\d+ +ok", screen(realistic(64)), re.MULTILINE)
    assert (len(small_fleet), len(large_fleet)) == (9, 5)
    assert "56 others at " in screen(realistic(64))


def test_untraced_fleet_is_reported() -> None:
    run = new_run()
    failed(run, "c1", HostState.UNREACHABLE, "connect", "no route to host")
    text = screen(run)
    assert "nothing was traced" in text
    assert "0 of 1 host traced" in text
    assert "KEYS  none\n" in text
    assert "unreachable c1" in text


def test_run_warnings_have_no_host() -> None:
    run = small()
    run.warnings.append(Warn("late", "the clock of the controller went back"))
    assert "\n  the clock of the controller went back\n" in screen(run)


def test_empty_run_is_valid() -> None:
    assert "0 of 0 hosts traced" in screen(new_run())
