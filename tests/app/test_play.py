"""`fleettrace play`: playbooks, plays, their options, and the checks before a connection."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.app.option_model import Form
from fleettrace.app.option_table import COMMANDS
from fleettrace.app.options import RunOptions
from fleettrace.app.play.options import PlayOptions
from fleettrace.app.play.plays import find_playbook, worst
from fleettrace.app.play.setup import PreparedPlay, prepare
from fleettrace.cli.main import main
from fleettrace.cli.parser import parse
from fleettrace.errors import ConfigError
from tests.playbook.reading import plays, problems

Play = Callable[..., tuple[int, str, str]]

TWO = """\
- name: one
  hosts: a?
  tags: [first, x]
  vars: {top: 5}
  sweep: {top: "{{ top }}"}
- name: two
  hosts: all
  tags: second
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    place = tmp_path / "fleet.yaml"
    place.write_text("all: {hosts: {a1: , a2: , b1: }}\n")
    return place


@pytest.fixture
def play(tmp_path: Path, inventory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Play:
    """Writes a playbook and runs `play` on it; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *options: str) -> tuple[int, str, str]:
        (tmp_path / "book.yaml").write_text(text)
        code = main(["play", "book.yaml", "-i", str(inventory), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def ready(directory: Path, inventory: Path, text: str, *options: str) -> list[PreparedPlay]:
    arguments = parse(["play", "x", "-i", str(inventory), *options], os.environ)
    return prepare(plays(directory, text), PlayOptions.of(vars(arguments)))


def own(directory: Path, inventory: Path, text: str, *options: str) -> RunOptions:
    [one] = ready(directory, inventory, text, *options)
    return one.options


def test_list_hosts_prints_hosts_without_connecting(play: Play) -> None:
    assert play(TWO, "--list-hosts", "-q") == (
        0,
        "book/one (a?): 2 hosts; tags: first, x\n  a1\n  a2\nbook/two (all): 3 hosts; tags: second\n  a1\n  a2\n  b1\n",
        "",
    )
    assert play(TWO, "--list-hosts", "--limit", "a1", "--tags", "second")[1].startswith("book/two (all): 1 host;")


def test_a_syntax_check_needs_no_inventory(play: Play, tmp_path: Path) -> None:
    assert play(TWO, "--syntax-check", "-i", str(tmp_path / "nowhere")) == (0, "", "")
    code, out, err = play(TWO.replace("hosts: all", "host: all"), "--syntax-check")
    assert (code, out) == (2, "")
    assert [line.partition(" ")[0] for line in err.splitlines()] == ["book.yaml:7:3:", "fleettrace:"]


def test_the_schema_needs_no_playbook(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "urn:fleettrace:schema:playbook:1"


def test_faulty_playbook_writes_no_metrics(play: Play, tmp_path: Path) -> None:
    book = "- name: a\n  hosts: a1\n  notify: [textfile: a.prom]\n  rules: [key.share >]\n"
    assert play(book)[0] == 2
    assert not (tmp_path / "a.prom").exists()


def test_unknown_hosts_are_reported_with_positions(play: Play) -> None:
    code, _, err = play("- {name: a, hosts: c1}\n- {name: b, hosts: all, sweep: {limit: d1}}\n", "--list-hosts")
    assert code == 2
    assert err.splitlines()[0].startswith("book.yaml:1:20: the host pattern 'c1' selects no host")
    assert err.splitlines()[1].startswith("book.yaml:2:20: the limit 'd1' leaves none of the 3 hosts")


@pytest.mark.parametrize(
    ("sweep", "printed"),
    [
        ("sweep: {misses: true, probe: usdt}", "1:32: --misses needs the probe kind item"),
        ("sweep: {script: nowhere.bt}", "nowhere.bt"),
        ("sweep: {redact-key-file: x}", "1:32: --redact-key-file without --redact"),
        ("outputs: {format: json, file: /nowhere/x}", "1:43: cannot write /nowhere/x: no such directory"),
        ("sweep: {prometheus-keys: true}, outputs: {format: json}", "1:32: prometheus-keys without an output"),
    ],
)
def test_conflicting_play_options_are_refused_first(play: Play, sweep: str, printed: str) -> None:
    code, out, err = play(f"- {{name: a, hosts: all, {sweep}}}\n")
    assert (code, out) == (2, "")
    assert printed in err
    assert "nothing was run" in err or printed == "nowhere.bt"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-e", "topp=1"], "-e topp: no play has a variable of that name; did you mean 'top'?"),
        (["-e", "top"], "-e 'top': expected NAME=VALUE, @FILE, or a mapping in braces"),
        (["-e", "@nowhere"], "-e @nowhere: cannot read it: No such file"),
        (["-e", "{1: 2}"], "-e:1: '1' is not a variable name"),
        (["--tags", "frist"], "no play has the tag 'frist'; did you mean 'first'?"),
        (["--tags", "first", "--skip-tags", "x"], "--tags and --skip-tags select no play"),
        (["--fail-on", "bad"], "--fail-on: 'bad' is not one of low, medium, high"),
    ],
)
def test_wrong_options_are_one_line_and_2(play: Play, options: list[str], words: str) -> None:
    code, out, err = play(TWO, *options)
    assert (code, out) == (2, "")
    assert err.startswith(f"fleettrace: {words}")
    assert len(err.splitlines()) == 1


def test_playbook_text_is_escaped_on_the_terminal(play: Play) -> None:
    text = '- {name: "a\\e[31mb", hosts: "c\\e]0;x\\a", sweep: {"\\e[2J": 1}, rules: "\\e[31m"}\n'
    code, out, err = play(text, "--syntax-check")
    assert (code, out, len(err.splitlines())) == (2, "", 4)
    assert "\x1b" not in err
    assert "\x07" not in err


def test_wrong_variable_value_is_located_at_its_use(play: Play) -> None:
    assert play(TWO, "--syntax-check", "-e", "top=many")[2].startswith("book.yaml:5:16: 'many' is not a number of")


def test_a_playbook_stands_for_a_command_line(tmp_path: Path, inventory: Path) -> None:
    text = """\
- name: a
  hosts: a*
  keep: 3
  sweep: {duration: 1m30s, ops: [get, set], misses: yes, min-ok: 90%, splay: 5m, log: x.log}
"""
    made = own(tmp_path, inventory, text)
    words = ["--duration=1m30s", "--ops=get,set", "--misses", "--min-ok=90%", "--splay=5m", "--log=x.log"]
    run = parse(["run", *words, "--keep=3", "--hosts=a*", "-i", str(inventory), "--name=playbook/a"])
    file = str((tmp_path / "playbook.yaml").resolve())
    assert made == replace(RunOptions.of(vars(run)), playbook="playbook/a", playbook_file=file)


def test_command_line_then_playbook_then_variables(
    tmp_path: Path, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETTRACE_LIMIT", "a1")
    monkeypatch.setenv("FLEETTRACE_MISSES", "1")
    monkeypatch.setenv("FLEETTRACE_DURATION", "7s")
    text = "- {name: x, hosts: all, sweep: {limit: a2, misses: false, name: mine}}\n"
    made = own(tmp_path, inventory, text)
    assert (made.limit, made.misses, made.duration, made.name) == ("a2", False, 7, "mine")
    assert own(tmp_path, inventory, text, "--limit", "b1").limit == "b1"
    assert own(tmp_path, inventory, text, "--limit", "b1").playbook == "playbook/x --limit b1"
    assert own(tmp_path, inventory, "- {name: x, hosts: all}").limit == "a1"


def test_secret_reaches_plays_but_no_child(tmp_path: Path, inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETTRACE_REDACT_KEY", "k" * 32)
    text = "".join(f"- {{name: {name}, hosts: all, sweep: {{redact: true}}}}\n" for name in "ab")
    assert [one.redact.secret for one in ready(tmp_path, inventory, text)] == [b"k" * 32] * 2
    assert "FLEETTRACE_REDACT_KEY" not in os.environ


def test_audit_without_terminal_is_quiet(tmp_path: Path, inventory: Path) -> None:
    rules = "- {name: x, hosts: all, rules: key.share > 5%%, sweep: {%s}}\n"
    assert ready(tmp_path, inventory, rules % "")[0].on_change
    assert not ready(tmp_path, inventory, rules % "quiet: false")[0].on_change
    assert not ready(tmp_path, inventory, rules % "", "-v")[0].on_change
    assert not ready(tmp_path, inventory, "- {name: x, hosts: all}\n")[0].options.quiet


def test_the_inventory_on_standard_input_serves_all_plays(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"g": {"hosts": ["z1"]}}'))
    code, out, _ = play("- {name: a, hosts: all}\n- {name: b, hosts: g}\n", "--list-hosts", "-i", "-")
    assert (code, out) == (0, "book/a (all): 4 hosts\n  a1\n  a2\n  b1\n  z1\nbook/b (g): 1 host\n  z1\n")


def test_playbook_name_finds_shipped_playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_playbook("hot-keys") == find_playbook("hot-keys.yaml")
    (tmp_path / "hot-keys").write_text("")
    assert find_playbook("hot-keys") == Path("hot-keys")
    with pytest.raises(ConfigError, match=r"no playbook 'hot-kays': .*; did you mean 'hot-keys'\?"):
        find_playbook("hot-kays")


@pytest.mark.parametrize(
    ("codes", "code"),
    [([], 0), ([0, 1], 1), ([1, 3], 3), ([3, 75, 5], 75), ([4, 75], 4), ([4, 2, 0], 2), ([0, 130], 130)],
)
def test_the_worst_play_makes_the_exit_code(codes: list[int], code: int) -> None:
    assert worst(codes) == code


VALUES = (
    *(
        "",
        "0",
        "1",
        "7",
        "010",
        "1_000",
        "-1",
        "0.5",
        "50%",
        "150%",
        "10s",
        "1:30",
        "1m30s",
        "2 days",
        "3/16",
        "90d,1G",
    ),
    *("get,set", "get, fly", "1,10%,100%", "item", "hash", "strict", "all", "(", "a(.*)", "x y", "--top", "é"),
)


def flags() -> list[str]:
    """The options that take only some values."""
    return [
        name
        for option in COMMANDS["run"].options
        if option.form is not Form.SWITCH and option.read is not str
        if (name := option.flag.removeprefix("--")) not in ("hosts", "keep", "output", "out", "html", "resume")
    ]


@pytest.mark.parametrize("flag", flags())
def test_playbook_accepts_the_command_lines_values(tmp_path: Path, flag: str) -> None:
    differ = []
    for value in VALUES:
        try:
            parse(["run", f"--{flag}={value}"], {})
            taken = True
        except ConfigError:
            taken = False
        printed = problems(tmp_path, f"- name: a\n  hosts: all\n  sweep:\n    {flag}: {json.dumps(value)}\n")
        if taken != (printed == []):
            differ.append((value, printed))
    assert differ == []
