"""`report` and `merge`: the numbers of the run itself, in every format, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleettrace.cli.main import main
from fleettrace.errors import HostState
from fleettrace.report.formats import Output
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from tests.store.runs import Swept, host_result, write

Part = Callable[..., str]


@pytest.fixture
def part(tmp_path: Path) -> Part:
    """Writes a run file of hosts, each with one key of its name beside `k`; `state` is that of all of them."""

    def write_part(name: str, *hosts: str, state: HostState = HostState.OK, run: str = "r") -> str:
        swept = Swept(run)
        for host in hosts:
            keys = {
                Key.whole(b"k"): KeyCount(7, 0, {"get": 7}, 1, None, [7]),
                Key.whole(host.encode()): KeyCount(3, 0, {"set": 3}, 0, 30, [3]),
            }
            counted = {"7@1": Summary(10, 0, keys, [10])} if state is HostState.OK else {}
            swept.hosts.append((host_result(host, counted, state), counted))
        return str(write(tmp_path / name, swept))

    return write_part


@pytest.mark.parametrize("output", list(Output))
def test_a_kept_run_is_rendered_in_every_format(part: Part, tmp_path: Path, output: Output) -> None:
    file = part("run", "c1", "c2")
    assert main(["report", file, "--output", output, "-o", str(tmp_path / "report")]) == 0
    assert "c2" in (tmp_path / "report").read_text()


def test_the_page_is_written_beside_the_report(part: Part, tmp_path: Path) -> None:
    file = part("run", "c1")
    assert main(["report", file, "--html", str(tmp_path / "page"), "-o", str(tmp_path / "report"), "--top", "1"]) == 0
    assert "<html" in (tmp_path / "page").read_text()


def test_top_and_families_of_ones_own_are_taken(part: Part, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", part("run", "c1", "c2"), "--output", "json", "--top", "1", "--template", "c([0-9])"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(row["key"], row["requests"], row["certified"]) for row in report["keys"]] == [("k", 14, True)]
    assert [(row["template"], row["requests"]) for row in report["templates"]] == [("c{}", 6)]


def test_parts_merge_into_one_report_and_one_file(
    part: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = part("a", "c3", "c1", run="r1"), part("b", "c2", run="r2")
    assert main(["merge", a, b, b, "--output", "json", "--save", str(tmp_path / "all")]) == 0
    merged = json.loads(capsys.readouterr().out)
    assert [host["host"] for host in merged["hosts"]] == ["c1", "c2", "c3"]
    assert (merged["totals"]["requests"], merged["keys"][0]["requests"]) == (30, 21)
    assert main(["report", str(tmp_path / "all"), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == merged
    main(["merge", str(tmp_path / "all"), a, "--save", str(tmp_path / "again"), "-q"])
    assert (tmp_path / "again").read_bytes() == (tmp_path / "all").read_bytes()


def test_hosts_that_failed_show_in_the_exit_code(part: Part, capsys: pytest.CaptureFixture[str]) -> None:
    fine, failed = part("a", "c1", "c2"), part("b", "c3", state=HostState.UNREACHABLE)
    assert main(["merge", fine, failed]) == 3
    assert main(["merge", fine, failed, "--min-ok", "90%"]) == 4
    assert main(["merge", fine, failed, part("c", "c3")]) == 0
    assert main(["report", failed]) == 0
    capsys.readouterr()


def test_merge_refuses_a_file_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").write_text("hello")
    assert main(["merge", str(tmp_path / "notes")]) == 2
    assert "notes: this is not a run file" in capsys.readouterr().err


def test_copies_are_not_redacted_in_passing(part: Part, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", part("a", "c1"), "--save", str(tmp_path / "all"), "--redact=drop"]) == 2
    assert "--save with --redact" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def test_stored_run_can_be_redacted_when_reported(part: Part, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", part("a", "c1"), "--redact=drop", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] == []
