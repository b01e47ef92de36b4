"""Generated pages, manual pages and completion scripts are those that the code of today gives."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from docs.generate.command_line import read_commands
from docs.generate.files import ROOT, generated, stale
from docs.generate.inventory_variables import VARIABLES

FILES = generated()
_OF_GROUPS = {"ansible_group_priority"}
"""Variables of groups, which no host has."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_file_is_current(path: Path) -> None:
    assert path.exists() and path.read_text() == FILES[path], "run `make docs`"


def test_no_generated_file_is_stale() -> None:
    assert stale() == []


def test_every_inventory_variable_is_documented() -> None:
    documented = {name for variables in VARIABLES.values() for each in variables for name in each.names}
    read = {
        node.value
        for path in (ROOT / "fleettrace/inventory").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.fullmatch(r"(ansible|fleettrace)_[a-z_]*[a-z]", node.value)
    }
    assert documented == read - _OF_GROUPS - {"ansible_connection_local"}


def test_manual_names_every_option() -> None:
    for command in read_commands().commands:
        text = (ROOT / f"share/man/man1/fleettrace-{command.name}.1").read_text().replace("\\-", "-")
        options = [option for group in command.groups.values() for option in group]
        assert [each.flag for each in options if f"\\fB{each.flag}\\fP" not in text] == []


def completed(shell: str, script: str) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout


_BASH = """
source share/bash-completion/completions/fleettrace
complete -p fleettrace >/dev/null
COMP_WORDS=({words}) COMP_CWORD={last}
_shtab_fleettrace
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_bash_completes_commands_and_options() -> None:
    assert completed("bash", _BASH.format(words="fleettrace hi", last=1)).split() == ["history"]
    assert completed("bash", _BASH.format(words="fleettrace run --dur", last=2)).split() == ["--duration"]
    assert completed("bash", _BASH.format(words="fleettrace run --output pro", last=3)).split() == ["prometheus"]


def test_fish_completes_commands_and_options() -> None:
    script = "source share/fish/vendor_completions.d/fleettrace.fish; complete -C '{}'"
    assert completed("fish", script.format("fleettrace hi")).split()[0] == "history"
    assert completed("fish", script.format("fleettrace run --dur")).split()[0] == "--duration"


def test_zsh_accepts_the_script() -> None:
    completed("zsh", "zsh -n share/zsh/site-functions/_fleettrace")


def test_wheel_installs_manual_pages_and_completion(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    share = {str(path.relative_to(ROOT)) for path in FILES if path.is_relative_to(ROOT / "share")}
    assert len(share) > 10 and share <= inside
    assert "fleettrace/error_codes.toml" in zipfile.ZipFile(wheel).namelist()
