"""Host patterns: examples. `test_against_ansible.py` compares thousands of them with Ansible's."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.inventory import Inventory, load_inventory, select
from fleettrace.inventory.pattern import split_pattern
from tests.inventory.oracle import Ansible

FLEET = """\
all:
  children:
    cache:
      children:
        east: {hosts: {"cache-[001:004]": }}
        west: {hosts: {"cache-[005:006]": }}
      vars: {x: 1}
    db: {hosts: {db1: , cache-001: , "fe80::1": }}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


@pytest.fixture
def fleet(source: Path) -> Inventory:
    return load_inventory([str(source)])


def _names(inventory: Inventory, pattern: str, limit: str | None = None) -> str:
    return " ".join(host.name.removeprefix("cache-") for host in select(inventory, pattern, limit).hosts)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("cache-003", "003"),
        ("west", "005 006"),
        ("cache-00[56]*", "005 006"),
        ("db:west", "db1 001 fe80::1 005 006"),
        ("west,db1", "005 006 db1"),
        ("cache:&db", "001"),
        ("!east:cache", "005 006"),
        ("&db:cache:!db1", "001"),
        ("!cache", "db1 fe80::1"),
        ("~cache-00[1-3]$", "001 002 003"),
        ("east[0]", "001"),
        ("east[-1]", "004"),
        ("east[1:2]", "002 003"),
        ("east[2:]", "003 004"),
        ("cache-*[0:1]", "001 002"),
        ("fe80::1", "fe80::1"),
        ("fe80::1,db1", "fe80::1 db1"),
        ("east[0:1]:db1", "001 002 db1"),
        (" db1 , west ", "db1 005 006"),
    ],
)
def test_pattern_selects_as_in_ansible(fleet: Inventory, source: Path, pattern: str, expected: str) -> None:
    assert _names(fleet, pattern) == expected
    assert Ansible(source).hosts(pattern) == [host.name for host in select(fleet, pattern).hosts]


def test_pattern_splits_at_commas_else_colons() -> None:
    assert split_pattern("a,b[1:2],c:d") == ["a", "b[1:2]", "c:d"]
    assert split_pattern("a:b[1:2]:!c") == ["a", "b[1:2]", "!c"]
    assert split_pattern("fe80::1") == ["fe80::1"]
    assert split_pattern("web:22") == ["web:22"]


def test_localhost_is_implicit_and_local(fleet: Inventory) -> None:
    (host,) = select(fleet, "localhost").hosts
    assert host.name == "localhost"
    assert host.variables["ansible_connection"] == "local"
    assert "localhost" not in _names(fleet, "all")


def test_limit_narrows_and_keeps_the_order(fleet: Inventory, source: Path, tmp_path: Path) -> None:
    assert _names(fleet, "cache", "cache-004,cache-002") == "002 004"
    listed = tmp_path / "listed"
    listed.write_text("# failed last night\ncache-006\n\n  cache-001  \nwest\n")
    assert _names(fleet, "all", f"@{listed}") == "001 005 006"
    assert Ansible(source).hosts("all", f"@{listed}") == ["cache-001", "cache-005", "cache-006"]
    assert _names(fleet, "all", f"@{listed}:!cache-005") == "001 006"


def test_part_without_match_is_a_warning(fleet: Inventory) -> None:
    selection = select(fleet, "east:wset:!cache-001")
    assert [host.name for host in selection.hosts] == ["cache-002", "cache-003", "cache-004"]
    assert selection.warnings == ("the host pattern part 'wset' matches nothing: did you mean west?",)


@pytest.mark.parametrize(
    ("pattern", "limit", "expected"),
    [
        ("cahce-001", None, "'cahce-001' selects no host: did you mean cache-001"),
        ("zzzzzz", None, "selects no host: `fleettrace hosts all` lists all 8 hosts"),
        ("east:!east", None, "'east:!east' selects no host"),
        ("", None, "the host pattern is empty: write 'all'"),
        (",", None, "the host pattern is empty"),
        ("!", None, "'!' with nothing after it"),
        ("~(", None, "'~(' is not a regular expression"),
        ("east[7]", None, "'east[7]' is out of range: 'east' has 4 hosts"),
        ("east", "west", "the limit 'west' leaves none of the 4 hosts of 'east'"),
        ("east", "", "the limit '' names no host"),
        ("east", "@/nowhere", "/nowhere: the limit file cannot be read: No such file"),
        ("east", "@/", "/: the limit file cannot be read"),
    ],
)
def test_empty_selection_is_an_error(fleet: Inventory, pattern: str, limit: str | None, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(fleet, pattern, limit)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_limit_file_is_refused(fleet: Inventory, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="names no host"):
        select(fleet, "all", f"@{tmp_path / 'empty'}")
