"""Loading every form of an inventory, and the errors with file and line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.inventory import Inventory, default_sources, load_inventory, select

_BIN = Path(sys.executable).parent

FLEET = """\
all:
  vars:
    ansible_user: tracer
  children:
    cache:
      vars: {fleettrace_scope: host}
      hosts:
        cache-[01:03]:
        cache-09:2222: {rack: r9}
    db:
      hosts:
        db1: {secret: !vault "$ANSIBLE_VAULT;1.1;AES256 00", words: !unsafe "{{ not a template }}"}
"""


def _load(directory: Path, text: str, name: str = "inventory.yaml") -> Inventory:
    path = directory / name
    path.write_text(text)
    return load_inventory([str(path)])


def _error(directory: Path, text: str, name: str = "inventory.yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        _load(directory, text, name)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(directory) + "/")


def _script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{_BIN}:{os.environ['PATH']}", "ANSIBLE_DEPRECATION_WARNINGS": "0"}


def test_yaml_file(tmp_path: Path) -> None:
    inventory = _load(tmp_path, FLEET)
    assert list(inventory.hosts) == ["cache-01", "cache-02", "cache-03", "cache-09", "db1"]
    assert dict(inventory.hosts["cache-09"].variables) == {
        "ansible_user": "tracer",
        "fleettrace_scope": "host",
        "ansible_port": 2222,
        "rack": "r9",
    }
    assert inventory.hosts["cache-01"].groups == ("cache",)


def test_output_of_ansible_inventory(tmp_path: Path) -> None:
    """The real `ansible-inventory --list`, read as a script, as JSON on standard input and as a file."""
    static = tmp_path / "fleet.yaml"
    static.write_text(FLEET.replace('secret: !vault "$ANSIBLE_VAULT;1.1;AES256 00", ', ""))
    expected = {name: dict(host.variables) for name, host in load_inventory([str(static)]).hosts.items()}
    script = _script(tmp_path / "fleet.sh", f"exec {_BIN}/ansible-inventory -i {static} --list")
    printed = subprocess.run([script], capture_output=True, text=True, env=_environment(), check=True).stdout
    for inventory in (
        load_inventory([str(script)]),
        load_inventory(["-"], stdin=io.StringIO(printed)),
        _load(tmp_path, printed, "saved.json"),
    ):
        assert {name: dict(host.variables) for name, host in inventory.hosts.items()} == expected
        assert [host.name for host in select(inventory, "cache").hosts] == [name for name in expected if name != "db1"]


def test_ansible_lists_the_same_hosts(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    for pattern in ("all:!cache-02", "cache[1:],~d"):
        command = [f"{_BIN}/ansible", "-i", str(path), pattern, "--list-hosts"]
        printed = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=True).stdout
        expected = [line.strip() for line in printed.splitlines()[1:]]
        assert [host.name for host in select(load_inventory([str(path)]), pattern).hosts] == expected


def test_script_without_meta_runs_for_each_host(tmp_path: Path) -> None:
    script = _script(
        tmp_path / "old.sh",
        """if [ "$1" = --list ]; then echo '{"web": ["a", "b"], "db": {"hosts": ["c"], "vars": {"x": 1}}}'
        else echo "{\\"me\\": \\"$2\\"}"; fi""",
    )
    inventory = load_inventory([str(script)])
    assert {name: dict(host.variables) for name, host in inventory.hosts.items()} == {
        "a": {"me": "a"},
        "b": {"me": "b"},
        "c": {"x": 1, "me": "c"},
    }


def test_executable_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("all: {hosts: {a: }}\n")
    path.chmod(0o755)
    assert list(load_inventory([str(path)]).hosts) == ["a"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("echo no credentials >&2; exit 3", "ended with status 3: no credentials"),
        ("echo hello", "bad JSON: Expecting value"),
        ("echo '[]'", "expected the JSON object"),
        ("""echo '{"web": {"hosts": "a"}}'""", "'hosts' of the group 'web' must be a list of names"),
        ("""echo '{"web": {"a": 1}}'""", "must be an object with 'hosts', 'children' or 'vars'"),
        ("printf '\\377'", "not UTF-8"),
    ],
)
def test_failed_script_is_named(tmp_path: Path, body: str, expected: str) -> None:
    script = _script(tmp_path / "inventory.sh", body)
    with pytest.raises(ConfigError) as caught:
        load_inventory([str(script)])
    assert str(caught.value).startswith(str(script))
    assert expected in str(caught.value)


def test_directory_of_files(tmp_path: Path) -> None:
    (tmp_path / "10-web.yaml").write_text("web: {hosts: {w1: }}")
    (tmp_path / "20-more.json").write_text(json.dumps({"web": {"hosts": {"w2": None}}, "db": {"hosts": {"d1": None}}}))
    _script(tmp_path / "30-script", """echo '{"_meta": {"hostvars": {}}, "cloud": {"hosts": ["c1"]}}'""")
    (tmp_path / "README.md").write_text("not an inventory")
    (tmp_path / "40-hosts.prod").write_text("[web]\nw3 a=3\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "web.yml").write_text("a: 1")
    (tmp_path / "host_vars" / "w2").mkdir(parents=True)
    (tmp_path / "host_vars" / "w2" / "main.yml").write_text("a: 2")
    inventory = load_inventory([str(tmp_path)])
    assert list(inventory.hosts) == ["w1", "w2", "d1", "c1", "w3"]
    assert inventory.hosts["w1"].variables["a"] == 1
    assert inventory.hosts["w2"].variables["a"] == 2
    assert inventory.hosts["w3"].variables["a"] == 3


def test_unreadable_file_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "web.hosts").write_text("w1\n")
    (tmp_path / "notes.log").write_text("not a list of hosts\n")
    with pytest.raises(ConfigError, match=r"notes\.log:1: expected NAME=VALUE after the host, found 'a'"):
        load_inventory([str(tmp_path)])


def test_encrypted_vars_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    inventory = _load(tmp_path, "all: {hosts: {a: }}")
    assert "encrypted by ansible-vault" in inventory.warnings[0]


def test_unknown_keys_are_warnings(tmp_path: Path) -> None:
    inventory = _load(tmp_path, "web:\n  hosts: {a: }\n  host: {b: }\nversion: 3\n")
    assert list(inventory.hosts) == ["a"]
    assert [warning.removeprefix(f"{tmp_path}/") for warning in inventory.warnings] == [
        "inventory.yaml:3: 'host' in the group 'web' is not one of hosts, children, vars: ignored",
        "inventory.yaml:4: 'version' is the plain value 3, not a group: ignored",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  children:\n    b:\n      children:\n        a:\n", "5: the group 'a' is below itself (a > b > a)"),
        ("a:\n  children:\n    a:\n", "3: the group 'a' is below itself (a > a)"),
        ("a:\n  children:\n    all:\n", "1: the group 'a' has 'all' below it"),
        ("all:\n  hosts:\n    - a\n", "2: 'hosts' of the group 'all' must be a mapping, not a list"),
        ("all:\n  hosts:\n    a: 3\n", "3: the variables of the host 'a' must be a mapping, not the plain value 3"),
        ("all:\n  hosts:\n    17:\n", "3: a host's name must be a string, not 17: put it in quotes"),
        ('all:\n  hosts:\n    "a\\eb":\n', "3: a host's name must be of printable characters, not 'a\\x1bb'"),
        ("all:\n  children:\n    17:\n", "3: a group's name must be a string, not 17"),
        ("all:\n  children:\n    web: [a]\n", "3: the group 'web' must be a mapping, not a list"),
        ("web:\n  hosts:\n    w[3:1]:\n", "3: 'w[3:1]': the range [3:1] ends before it begins"),
        ("web:\n  vars:\n    ansible_group_priority: high\n", "3: ansible_group_priority must be a whole number"),
        (
            "web:\n  vars:\n    fleettrace_skope: host\n",
            "3: unknown variable 'fleettrace_skope': did you mean fleettrace_scope?",
        ),
        (
            "web:\n  hosts:\n    a:\n      fleettrace_zzz: 1\n",
            "4: unknown variable 'fleettrace_zzz': use one of fleettrace_bpftrace",
        ),
        ("all:\n  hosts: {a: }}\n", "2: bad YAML: "),
        ("all:\n\thosts: {}\n", "2: bad YAML: "),
        ("all: &x\n  vars: {a: *y}\n", "2: bad YAML: the alias *y has no anchor"),
        ("all:\n  vars:\n    a: !secret x\n", "3: bad YAML: the tag '!secret' is not known here"),
        ("all: {}\n---\nall: {}\n", "2: bad YAML: a second document begins here"),
        ("- a\n- b\n", " expected groups (all: hosts: ...), found a list"),
        ("", " is empty"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", " is encrypted by ansible-vault"),
    ],
)
def test_error_has_file_and_line(tmp_path: Path, text: str, expected: str) -> None:
    assert _error(tmp_path, text).startswith(f"inventory.yaml:{expected}")


@pytest.mark.parametrize(
    ("text", "hosts", "expected"),
    [
        (
            "all:\n  hosts:\n    a:\n  hosts:\n    b:\n",
            ["b"],
            "4: the key 'hosts' appears twice in one mapping",
        ),
        ("web: {}\nweb: {hosts: {a: }}\n", ["a"], "2: the key 'web' appears twice in one mapping (first on line 1)"),
        ('{"web": {},\n "web": {"hosts": {"a": null}}}', ["a"], "2: the key 'web' appears twice"),
        ("web:\n  hosts:\n    web:\n", ["web"], "3: 'web' is both a host and a group"),
    ],
)
def test_what_ansible_warns_of_is_a_warning(tmp_path: Path, text: str, hosts: list[str], expected: str) -> None:
    inventory = _load(tmp_path, text)
    assert list(inventory.hosts) == hosts
    assert inventory.warnings[0].startswith(f"{tmp_path}/inventory.yaml:{expected}")


def test_plugin_without_ansible_gives_a_working_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleettrace.inventory.load.ask_ansible", lambda *_: None)
    path = tmp_path / "my plugin.yaml"
    message = _error(tmp_path, "plugin: generator\nhosts: {name: 'w{{ n }}'}\nlayers: {n: [1, 2]}\n", path.name)
    assert message.startswith("my plugin.yaml:1: this configures Ansible's inventory plugin 'generator'")
    command = message.partition("`")[2].partition("`")[0].replace("fleettrace hosts", "fleettrace hosts -q")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=_environment(), check=True)
    assert done.stdout == "w1\nw2\n"


def test_ansible_reads_what_only_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", _environment()["PATH"])
    (tmp_path / "10-hosts").write_text("[web]\nb rack=r1\na rack=r2\n")
    (tmp_path / "20-rack.yaml").write_text("plugin: constructed\nkeyed_groups: [{key: rack, prefix: rack}]\n")
    inventory = load_inventory([str(tmp_path)])
    assert [host.name for host in inventory.hosts_in("web")] == ["b", "a"]
    assert [host.name for host in inventory.hosts_in("rack_r2")] == ["a"]
    assert inventory.notes == (f"ansible-inventory read {tmp_path}, because of the plugin 'constructed'",)


def test_later_source_takes_precedence(tmp_path: Path) -> None:
    for name, value in (("one", 1), ("two", 2)):
        (tmp_path / name / "group_vars").mkdir(parents=True)
        (tmp_path / name / "hosts").write_text(f"[web]\n{name} a={value}\nboth a={value}\n")
        (tmp_path / name / "group_vars/web").write_text(f"b: {value}\n")
    inventory = load_inventory([str(tmp_path / "one"), str(tmp_path / "two/hosts"), "both,list:22"])
    assert list(inventory.hosts) == ["one", "both", "two", "list"]
    assert {name: dict(host.variables) for name, host in inventory.hosts.items()} == {
        "one": {"a": 1, "b": 2},
        "both": {"a": 2, "b": 2},
        "two": {"a": 2, "b": 2},
        "list": {"ansible_port": 22},
    }


def test_empty_standard_input_is_named() -> None:
    with pytest.raises(ConfigError, match="standard input is empty"):
        load_inventory(["-"], stdin=io.StringIO(""))


def test_error_in_a_vars_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "web.yml").write_text("---\n# ours\nfleettrace_bftrace: x\n")
    with pytest.raises(ConfigError, match=r"group_vars/web\.yml:3: unknown variable .* fleettrace_bpftrace\?"):
        _load(tmp_path, "web: {hosts: {a: }}")


def test_invalid_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_bytes(b"all: \xff")
    with pytest.raises(ConfigError, match="is not UTF-8: byte 5 is 0xff"):
        load_inventory([str(tmp_path / "inventory.yaml")])


def test_missing_inventory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the inventory does not exist"):
        load_inventory([str(tmp_path / "nowhere.yaml")])


def test_default_sources() -> None:
    paths = [str(path) for path in default_sources()]
    assert paths == [
        "inventory.yaml",
        f"{Path.home()}/.config/fleettrace/inventory.yaml",
        "/etc/fleettrace/inventory.yaml",
        "/etc/ansible/hosts",
    ]
