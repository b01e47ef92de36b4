"""`RunOptions`, its defaults, and the public function `run`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from fleettrace.app import run
from fleettrace.app.exporter.options import ExporterOptions
from fleettrace.app.option_model import Form
from fleettrace.app.option_table import COMMANDS, SEVERITIES
from fleettrace.app.options import ReportOptions, RunOptions, identity, probe_options
from fleettrace.app.play.options import PlayOptions
from fleettrace.errors import ConfigError
from fleettrace.inventory.ansible_config import BECOME_METHODS
from fleettrace.playbook.findings import Severity
from fleettrace.probes.model import ProbeOptions
from fleettrace.transport.become import check
from fleettrace.transport.interface import Become


def test_each_option_reaches_its_own_probe_option() -> None:
    assert probe_options(RunOptions(misses=True)) == ProbeOptions(misses=True)
    assert probe_options(RunOptions(sizes=True)) == ProbeOptions(sizes=True)


def test_run_options_default_to_the_option_table() -> None:
    assert RunOptions.of({option.name: option.initial({}) for option in COMMANDS["run"].options}) == RunOptions()


def test_run_options_are_the_options_of_run() -> None:
    assert {each.name for each in fields(RunOptions)} - {"playbook", "playbook_file"} == {
        option.name for option in COMMANDS["run"].options
    } - {"list_hosts"}


def test_play_options_are_the_options_of_play() -> None:
    assert {each.name for each in fields(PlayOptions)} - {"files"} == {
        option.name for option in COMMANDS["play"].options
    } - {"schema"}


def test_exporter_options_are_the_options_of_exporter() -> None:
    options = COMMANDS["exporter"].options
    assert {option.name for option in options} <= {each.name for each in fields(ExporterOptions)}
    assert ExporterOptions.of({option.name: option.initial({}) for option in options}) == ExporterOptions()


def test_every_become_method_is_known_everywhere() -> None:
    """The option does not import the others' list: `--help` has to answer at once."""
    (option,) = [each for each in COMMANDS["run"].options if each.name == "become_method"]
    assert option.choices == (*BECOME_METHODS, "none")
    for method in BECOME_METHODS:
        check(Become(method))


def test_report_options_are_the_options_of_report() -> None:
    assert {each.name for each in fields(ReportOptions)} == {option.name for option in COMMANDS["report"].options}


def test_every_option_has_a_help_sentence() -> None:
    options = [option for command in COMMANDS.values() for option in command.options]
    assert [option.flag for option in options if not option.help.endswith(".")] == []
    assert [option.flag for option in options if option.form is Form.VALUE and not option.metavar] == []


def test_severities_are_the_playbooks() -> None:
    assert list(SEVERITIES) == [severity.value for severity in Severity]


def test_identity_ignores_options_that_change_no_count() -> None:
    assert identity(RunOptions(forks=3, ops=frozenset({"set", "get"}))) == '{"ops": ["get", "set"], "probe": "auto"}'


def test_run_refuses_a_missing_inventory() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        run(RunOptions(inventory=("/nowhere/inventory.yaml",), no_store=True))


@pytest.mark.parametrize("module", ["fleettrace.app", "fleettrace.app.runner", "fleettrace.app.play.plays"])
def test_app_imports_neither_rich_nor_paramiko(module: str) -> None:
    program = f"import sys, {module}; print(*{{'rich', 'paramiko', 'fabric', 'argparse'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
