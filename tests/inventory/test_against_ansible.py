"""Generated inventories, compared with Ansible: hosts, groups, variables, patterns, and their order."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.inventory import Inventory, load_inventory, select
from tests.inventory.oracle import Ansible
from tests.inventory.strategies import host_lists, ini_texts, inventories, limits, patterns

_EFFORT = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
_count = itertools.count()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inventories")


def _write(directory: Path, content: dict[str, Any]) -> Path:
    parent = directory / str(next(_count))
    parent.mkdir()
    path = parent / "inventory.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def _load_both(directory: Path, content: dict[str, Any]) -> tuple[Inventory, Ansible] | None:
    """Load an inventory here and in Ansible. Return None if it is refused here; Ansible may only warn about it."""
    path = _write(directory, content)
    try:
        return load_inventory([str(path)]), Ansible(path)
    except ConfigError as error:
        assert "both a host and a group" in error.message or "below" in error.message
        return None


@settings(_EFFORT, max_examples=300)
@given(text=ini_texts())
def test_ini_is_read_as_by_ansible(directory: Path, text: str) -> None:
    parent = directory / str(next(_count))
    parent.mkdir()
    path = parent / "hosts"
    path.write_text(text)
    try:
        inventory = load_inventory([str(path)])
    except ConfigError as error:
        if not any(ours in error.message for ours in ("is empty", "ends before", "printable characters")):
            with pytest.raises(Exception, match=r"parse|loop"):
                Ansible(path, strict=True)
        return
    ansible = Ansible(path, strict=True)
    assert list(inventory.hosts) == ansible.all_names()
    for name, host in inventory.hosts.items():
        assert list(host.groups) == ansible.groups_of(name)
        assert repr(dict(sorted(host.variables.items()))) == repr(dict(sorted(ansible.variables(name).items())))


@_EFFORT
@given(text=host_lists())
def test_host_list_is_read_as_by_ansible(text: str) -> None:
    inventory, ansible = load_inventory([text]), Ansible(text, strict=True)
    assert list(inventory.hosts) == ansible.all_names()
    for name, host in inventory.hosts.items():
        assert dict(host.variables) == ansible.variables(name)


@_EFFORT
@given(content=inventories())
def test_hosts_groups_and_variables_equal_ansibles(directory: Path, content: dict[str, Any]) -> None:
    both = _load_both(directory, content)
    if both is None:
        return
    inventory, ansible = both
    assert list(inventory.hosts) == ansible.all_names()
    for name, host in inventory.hosts.items():
        assert list(host.groups) == ansible.groups_of(name)
        assert dict(host.variables) == ansible.variables(name)


@_EFFORT
@given(content=inventories(), asked=st.lists(st.tuples(patterns(), limits()), min_size=10, max_size=40))
def test_patterns_select_the_same_hosts(
    directory: Path, content: dict[str, Any], asked: list[tuple[str, str | None]]
) -> None:
    both = _load_both(directory, content)
    if both is None:
        return
    inventory, ansible = both
    in_order = all(ansible.order_is_defined(group) for group in inventory.groups)
    for pattern, limit in asked:
        expected = ansible.hosts(pattern, limit)
        if not in_order and "[" in pattern + (limit or ""):
            continue  # a subscript of hosts in no particular order
        found = _selected(inventory, pattern, limit)
        if in_order:
            assert found == (expected or []), (pattern, limit)
        else:
            assert sorted(found) == sorted(expected or []), (pattern, limit)


def _selected(inventory: Inventory, pattern: str, limit: str | None) -> list[str]:
    try:
        return [host.name for host in select(inventory, pattern, limit).hosts]
    except ConfigError:
        return []


_FILE = st.sampled_from(["", ".yml", ".yaml", ".json", "/main.yml", "/10.yaml", "/deep/20", "/skipped.txt", "/.hidden"])
_CONTENT = st.dictionaries(st.sampled_from(["a", "b", "c", "ansible_group_priority"]), st.integers(1, 5), max_size=3)
_VARS_FILES = st.dictionaries(
    st.tuples(
        st.sampled_from(["group_vars/all", "group_vars/web", "group_vars/db", "host_vars/web1", "host_vars/10.0.0.1"]),
        _FILE,
    ),
    _CONTENT,
    max_size=6,
)


@_EFFORT
@given(first=inventories(), second=inventories(), files=_VARS_FILES, as_directory=st.booleans())
def test_vars_files_merge_as_in_ansible(
    directory: Path,
    first: dict[str, Any],
    second: dict[str, Any],
    files: dict[tuple[str, str], dict[str, int]],
    as_directory: bool,
) -> None:
    path = _write(directory, first)
    (path.parent / "zz-more.yml").write_text(yaml.safe_dump(second, sort_keys=False))
    for (name, ending), content in files.items():
        file = path.parent / (name + ending)
        if not any(parent.is_file() for parent in file.parents) and not file.is_dir():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(yaml.safe_dump(content))
    source = path.parent if as_directory else path
    try:
        inventory = load_inventory([str(source)])
    except ConfigError as error:
        assert "both a host and a group" in error.message or "below" in error.message
        return
    ansible = Ansible(source)
    assert list(inventory.hosts) == ansible.all_names()
    for name, host in inventory.hosts.items():
        assert dict(host.variables) == ansible.variables(name)
        for variable, value in host.variables.items():
            origin = host.origin(variable)
            assert origin is not None
            if "_vars/" in origin.file:
                assert yaml.safe_load(Path(origin.file).read_text())[variable] == value
