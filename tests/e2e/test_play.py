"""Playbooks against a real fleet: the shipped ones, a scheduled audit, and early ends of a playbook."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import WEB
from tests.e2e.command import Command, Done, on_lab, run

pytestmark = pytest.mark.lab

HOSTS = ("plain", "two")
HOT = b"product:4711:stock"
RATE = 300.0

AUDIT = """\
- name: hourly
  hosts: plain,two
  sweep: {duration: 1s}
  rules:
    - when: key.share > {{ hot }}
      severity: high
    - key.misses > 50%
  outputs:
    - format: table
    - {format: json, file: "{{ playbook_dir }}/audit.json"}
  notify:
    - command: [tee, "{{ playbook_dir }}/notice.json"]
    - stamp: "{{ playbook_dir }}/stamp"
"""


@pytest.fixture(scope="module")
def traffic(lab: Lab) -> Iterator[None]:
    """Send traffic to every instance of these hosts; one key gets a quarter of it."""
    profile = replace(WEB, hot={HOT: 0.25})
    instances = lab.instances(*HOSTS)
    load = lab.start_load(
        [Flow(instance, lab.hosts[instance.host].address, profile, RATE) for instance in instances], 600
    )
    try:
        yield
    finally:
        load.stop()


def options(lab: Lab, directory: Path, *more: str) -> Sequence[str]:
    return ["play", *on_lab(lab, "--store", str(directory / "history.db")), *more]


def play(lab: Lab, directory: Path, *more: str) -> Done:
    return run(*options(lab, directory, *more))


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize(
    ("name", "variables", "status", "expected"),
    [
        ("hot-keys", ["hosts=plain,two"], 0, ["product:4711:stock"]),
        ("nightly-audit", ["hosts=plain,two"], 1, ["new  high, certain: product:4711:stock takes 2"]),
        (
            "canary",
            ["hosts=plain,two"],
            0,
            ["product:4711:stock", "FINDINGS  canary/the fleet in waves: none by 2 rules"],
        ),
        ("miss-storm", ["hosts=plain,two"], None, ["product:4711:stock", "FINDINGS  miss-storm/misses"]),
        ("compare-pools", ["a=plain", "b=two"], 0, ["\nplain  ", "\ntwo  "]),
    ],
)
def test_shipped_playbook_runs(
    lab: Lab, tmp_path: Path, name: str, variables: list[str], status: int | None, expected: list[str]
) -> None:
    given = [word for variable in ("duration=2s", *variables) for word in ("-e", variable)]
    done = play(lab, tmp_path, name, *given)
    shown = "\n" + done.out.decode()
    assert [text for text in expected if text not in shown] == [], shown + done.err
    assert done.status in ((0, 1) if status is None else (status,)), done.err
    runs = json.loads(run("history", "--store", str(tmp_path / "history.db"), "--output", "json").out)["runs"]
    assert {line["playbook"].partition("/")[0] for line in runs} == {name}
    assert len(runs) == (2 if name == "compare-pools" else 1)


@pytest.mark.usefixtures("traffic")
def test_page_is_written_to_its_path(lab: Lab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    given = ["-e", "hosts=plain", "-e", "duration=1s", "-e", f"page={page}"]
    done = play(lab, tmp_path, "hot-keys", "--tags", "page", *given, "-q")
    assert (done.status, done.out, done.err) == (0, b"", "")
    assert "product:4711:stock" in page.read_text()


@pytest.mark.usefixtures("traffic")
def test_scheduled_audit_reports_only_news(lab: Lab, tmp_path: Path) -> None:
    book = tmp_path / "audit.yaml"
    book.write_text(AUDIT)
    fine = play(lab, tmp_path, str(book), "-e", "hot=90%")
    assert (fine.status, fine.out, fine.err) == (0, b"", "")
    first = play(lab, tmp_path, str(book), "-e", "hot=10%")
    assert first.status == 1
    assert "  new  high, certain: key product:4711:stock: share 2" in first.out.decode()
    assert first.err == ""
    notice = json.loads((tmp_path / "notice.json").read_text())
    assert (notice["playbook"], notice["play"], notice["succeeded"]) == ("audit", "hourly", True)
    assert [(one["severity"], one["name"]) for one in notice["findings"] if one["certainty"] == "certain"] == [
        ("high", HOT.decode())
    ]
    (tmp_path / "notice.json").unlink()
    again = play(lab, tmp_path, str(book), "-e", "hot=10%")
    assert (again.status, again.out, again.err) == (1, b"", "")
    assert not (tmp_path / "notice.json").exists()
    assert json.loads((tmp_path / "audit.json").read_text())["keys"][0]["key"] == HOT.decode()
    assert (tmp_path / "stamp").exists()
    only_grave = play(lab, tmp_path, str(book), "-e", "hot=90%", "--fail-on", "high")
    assert only_grave.status == 0
    assert "  gone high: key product:4711:stock" in only_grave.out.decode()


@pytest.mark.usefixtures("traffic")
def test_findings_stay_out_of_a_json_report(lab: Lab, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text(
        "- name: a\n  hosts: plain\n  sweep: {duration: 1s, quiet: false}\n"
        "  rules: key.share > 10%\n  outputs: {format: json}\n"
    )
    done = play(lab, tmp_path, str(book))
    assert (done.status, done.host("plain")["state"]) == (1, "ok")
    assert "medium, certain: key product:4711:stock" in done.err


def test_check_logs_in_and_traces_nothing(lab: Lab, tmp_path: Path) -> None:
    done = play(lab, tmp_path, "hot-keys", "-e", "hosts=plain,closed", "--check", "-q")
    assert done.status == 3
    assert "plain  pid " in done.out.decode()
    assert "closed: unreachable" in done.err
    assert not (tmp_path / "history.db").exists()


def test_locked_play_does_not_stop_the_others(lab: Lab, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text(
        f"- {{name: a, hosts: plain, sweep: {{duration: 60s}}, tags: a, notify: [{{textfile: {tmp_path}/a.prom}}]}}\n"
        "- {name: b, hosts: plain, sweep: {duration: 1s}, tags: b, outputs: {format: json}}\n"
    )
    with Command(options(lab, tmp_path, str(book), "--tags", "a", "-v")) as first:
        first.wait_for_trace("plain")
        done = play(lab, tmp_path, str(book))
        assert (done.status, done.host("plain")["state"]) == (75, "ok")
        assert not (tmp_path / "a.prom").exists()
        assert re.search(rf"^fleettrace: book/a: .*\b{first.pid}\b", done.err, re.MULTILINE)
        first.signal(signal.SIGINT)
        assert first.finish().status == 130


def test_interrupt_ends_the_whole_playbook(lab: Lab, tmp_path: Path) -> None:
    book = tmp_path / "book.yaml"
    book.write_text("".join(f"- {{name: {name}, hosts: plain, sweep: {{duration: 60s}}}}\n" for name in "ab"))
    with Command(options(lab, tmp_path, str(book), "-v")) as command:
        command.wait_for_trace("plain")
        command.signal(signal.SIGINT)
        done = command.finish()
    assert done.status == 130
    assert command.has_printed("play book/a")
    assert not command.has_printed("play book/b")
