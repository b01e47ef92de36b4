"""Inventories that expand without bound, or hold huge numbers: one line of error, no traceback."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.inventory import load_inventory
from fleettrace.inventory.loaders.words import split_words
from fleettrace.yaml_reader.values import MAX_UNFOLDED, read_json, read_text

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


def test_nested_aliases_are_refused() -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match="aliases unfold to more than") as caught:
        read_text(BOMB, "inventory.yaml")
    assert caught.value.line is not None
    assert time.process_time() - began < 2


def test_aliases_in_merges_count() -> None:
    text = "b: &b {" + ", ".join(f"k{n}: v" for n in range(1000)) + "}\n"
    text += "".join(f"m{n}: {{<<: *b}}\n" for n in range(MAX_UNFOLDED // 1000 + 1))
    with pytest.raises(ConfigError, match="aliases unfold"):
        read_text(text, "inventory.yaml")


def test_alias_of_ten_thousand_hosts_is_read() -> None:
    text = "v: &v {" + ", ".join(f"k{n}: v" for n in range(50)) + "}\nhosts:\n"
    text += "".join(f"  h{n}: *v\n" for n in range(10_000))
    assert len(read_text(text, "inventory.yaml")["hosts"]) == 10_000


def test_repeated_key_beside_aliases_is_found_fast() -> None:
    began = time.process_time()
    text = "".join(BOMB.splitlines(keepends=True)[:6]) + "a1: again\n"
    with pytest.raises(ConfigError, match="appears twice"):
        read_text(text, "inventory.yaml")
    assert time.process_time() - began < 2


@pytest.mark.parametrize("read", [read_json, read_text])
def test_huge_integer_is_a_config_error(read: object) -> None:
    with pytest.raises(ConfigError):
        read('{"a": ' + "1" * 5000 + "}", "inventory.json")  # type: ignore[operator]


@pytest.mark.parametrize("text", ['{"a": ' + "1" * 5000 + "}", BOMB])
def test_stdin_fault_is_one_line_and_exit_2(text: str) -> None:
    words = [sys.executable, "-m", "fleettrace", "hosts", "-i", "-"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


_LONG = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "h a='" + "x" * _LONG + "'",
        'h a="' + "\\" * _LONG,
        "h a='" + "x" * _LONG,
        "[web" + "x" * _LONG,
        "[web:" + "x" * _LONG + "]",
        "[all:children]\n" + "x" * _LONG,
        "h[" + "x" * _LONG + "]",
        "h" + "[0:0]" * (_LONG // 5),
        "h " + "x" * _LONG,
        ":" * _LONG,
    ],
    ids=["quoted", "backslashes", "open quotation", "section", "state", "child", "range", "ranges", "word", "colons"],
)
def test_long_ini_line_takes_linear_time(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(text + "\n")
    began = time.process_time()
    try:
        load_inventory([str(path)])
    except ConfigError as error:
        assert len(error.message) < 1000
        assert error.line is not None
    assert time.process_time() - began < 3


@settings(max_examples=2000, deadline=None)
@given(line=st.text("ab= \t\"'\\#;$\xa0\u2003\x1f", max_size=16))
def test_words_are_split_as_by_shlex(line: str) -> None:
    try:
        expected = shlex.split(line, comments=True)
    except ValueError:
        with pytest.raises(ValueError, match=r"No closing quotation|No escaped character"):
            split_words(line)
        return
    assert split_words(line) == expected
