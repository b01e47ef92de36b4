"""Discovery looks at as many processes as a node has, with few at once, also where one of them does not answer."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleettrace.node.scripts import script_text

SHELLS = (["dash"], ["bash"], ["busybox", "ash"])
FILES = 300


def functions() -> str:
    """The functions of discover.sh that look at files."""
    text = script_text("discover.sh")
    return text[text.index("bounded() {") : text.index("describe_node() {")]


def looked(shell: Sequence[str], script: str) -> list[str]:
    words = [*shell, "-c", functions() + script]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[-1])
def test_one_hanging_file_starts_few_processes(shell: list[str], tmp_path: Path) -> None:
    """A file that can be opened, and does not answer to whoever looks at it: that one alone is without an answer."""
    files = [*(f"/nowhere/{number}" for number in range(FILES)), "/nowhere/hung"]
    script = f"""
    try_on() {{
        shift 2
        own=$(mktemp {tmp_path}/running.XXXXXX)
        ls {tmp_path} | grep -c running >>{tmp_path}/counts
        sleep 0.1
        rm "$own"
        case "$*" in */hung*) return 137 ;; esac
        printf '%s\\n' "$@"
    }}
    look_on stat {shlex.join(files)}
    """
    assert sorted(looked(shell, script)) == sorted([*files[:-1], "!/nowhere/hung"])
    assert max(map(int, (tmp_path / "counts").read_text().split())) <= 50


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[-1])
def test_list_too_long_for_one_command_is_split(shell: list[str]) -> None:
    path = "/proc/self/" + "task/../" * 200
    script = f"""
    ulimit -s 512
    set --
    for number in $(seq {FILES}); do set -- "$@" {path}exe; done
    try_on stat 8 "$@"
    echo "status $?"
    look_on stat "$@"
    """
    lines = looked(shell, script)
    assert lines[0] == "status 126"
    assert len(lines) == FILES + 1
    assert all(line.endswith("/exe") and line.count("/") > 3 for line in lines[1:])
