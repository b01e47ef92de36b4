"""Every option has a variable that stands in for it, and the command line wins."""

from __future__ import annotations

import re

import pytest

from fleettrace.cli.parser import parse
from fleettrace.cli.selection import run_options
from fleettrace.errors import ConfigError


def test_the_defaults_are_the_documented_ones() -> None:
    run = parse(["run"], {})
    assert (run.command, run.hosts, run.limit, run.inventory) == ("run", "all", None, [])
    assert (run.duration, run.top, run.forks, run.probe) == (10, 20, None, "auto")
    assert (run.connect_timeout, run.deadline, run.min_ok) == (None, 300, 0.5)
    assert (run.output, run.out, run.quiet, run.verbose, run.no_color) == ("table", None, False, False, False)


def test_a_variable_stands_in_for_an_option() -> None:
    environ = {
        "FLEETTRACE_INVENTORY": "fleet.yaml",
        "FLEETTRACE_DURATION": "1m",
        "FLEETTRACE_MIN_OK": "90%",
        "FLEETTRACE_SSH_CONFIG": "config",
        "FLEETTRACE_QUIET": "1",
        "FLEETTRACE_NO_COLOR": "no",
    }
    run = parse(["run"], environ)
    assert (run.inventory, run.duration, run.min_ok, run.ssh_config) == (["fleet.yaml"], 60, 0.9, "config")
    assert (run.quiet, run.no_color) == (True, False)


def test_the_command_line_wins_over_the_variable() -> None:
    assert parse(["run", "--duration", "5s"], {"FLEETTRACE_DURATION": "1m"}).duration == 5


def test_an_empty_variable_of_a_switch_means_no() -> None:
    assert parse(["run"], {"FLEETTRACE_VERBOSE": ""}).verbose == 0


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"FLEETTRACE_DURATION": "soon"}, "FLEETTRACE_DURATION: 'soon' is not a duration"),
        ({"FLEETTRACE_QUIET": "maybe"}, "FLEETTRACE_QUIET='maybe': expected 1 or 0"),
        ({"FLEETTRACE_OUTPUT": "xml"}, "FLEETTRACE_OUTPUT: 'xml' is not one of table"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse(["run"], environ)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "--duration", "soon"], "--duration: 'soon' is not a duration: expected"),
        (["run", "--probe", "kprobe"], "--probe: 'kprobe' is not one of auto, item"),
        (["run", "--nonsense"], "unknown option --nonsense (see `fleettrace run --help`)"),
        (
            ["run", "--durations=5s"],
            "unknown option --durations: did you mean --duration? (see `fleettrace run --help`)",
        ),
        (["report", "a", "b"], "unexpected argument 'b' (see `fleettrace report --help`)"),
        (["run", "--top"], "expected one argument (see `fleettrace run --help`)"),
        (["walk"], "invalid choice: 'walk'"),
        ([], "required: COMMAND"),
    ],
)
def test_wrong_option_is_named_with_its_help(argv: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse(argv, {})


@pytest.mark.parametrize("command", ["run", "top", "check", "plan", "hosts"])
def test_patterns_may_stand_before_and_behind_options(command: str) -> None:
    assert parse([command, "cache-*", "-i", "x", "db"], {}).pattern == ["cache-*", "db"]


def test_repeated_patterns_are_a_union() -> None:
    run = parse(["run", "--hosts", "a", "--hosts", "b", "-l", "c", "--limit", "d"], {"FLEETTRACE_LIMIT": "e"})
    assert (run.hosts, run.limit) == ("a,b", "c,d")


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (["db"], "db"),
        (["--hosts", "all", "db"], "all,db"),
        (["--hosts", "web", "db", "cache"], "web,db,cache"),
        (["--hosts", "web"], "web"),
        ([], "of-variable"),
    ],
)
def test_patterns_and_hosts_are_a_union(words: list[str], hosts: str) -> None:
    assert run_options(parse(["run", *words], {"FLEETTRACE_HOSTS": "of-variable"})).hosts == hosts


def test_ansibles_short_options_mean_the_same() -> None:
    argv = [
        "-i",
        "x",
        "-i",
        "y",
        "-l",
        "z",
        "-u",
        "ops",
        "-b",
        "-f",
        "5",
        "-k",
        "-K",
        "-e",
        "a=1",
        "-vvv",
        "--private-key",
        "key",
    ]
    run = parse(["run", *argv], {})
    assert (run.inventory, run.limit, run.user, run.become, run.forks) == (["x", "y"], "z", "ops", True, 5)
    assert (run.ask_pass, run.ask_become_pass, run.extra_vars, run.verbose) == (True, True, ["a=1"], 3)
    assert run.private_key == "key"


@pytest.mark.parametrize("command", ["run", "top", "check", "plan", "hosts", "demo"])
def test_every_command_explains_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([command, "--help"], {})
    assert caught.value.code == 0
    assert f"usage: fleettrace {command}" in capsys.readouterr().out
