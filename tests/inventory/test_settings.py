"""A host's variables as typed settings, and the errors with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.inventory import (
    ConnectionKind,
    HostSettings,
    InstanceScope,
    InstanceSelector,
    SecretCommand,
    SelectorKind,
    SshClient,
    host_settings,
    load_inventory,
)
from fleettrace.inventory.model import Host
from fleettrace.inventory.settings import BecomeSettings
from tests.inventory.oracle import option


def _settings(tmp_path: Path, variables: str) -> HostSettings:
    path = tmp_path / "inventory.yaml"
    indented = "".join(f"      {line}\n" for line in variables.splitlines())
    path.write_text(f"all:\n  hosts:\n    cache-1:\n{indented}")
    return host_settings(load_inventory([str(path)]).hosts["cache-1"])


def test_host_without_variables_has_the_defaults(tmp_path: Path) -> None:
    assert _settings(tmp_path, "rack: 7") == HostSettings("cache-1")
    assert HostSettings("x").bpftrace == ("bpftrace",)


def test_every_variable_is_read(tmp_path: Path) -> None:
    found = _settings(
        tmp_path,
        """\
ansible_host: 10.0.0.1
ansible_port: "2222"
ansible_user: tracer
ansible_connection: local
ansible_ssh_private_key_file: ~/.ssh/fleet
ansible_password: letmein
ansible_become: "yes"
ansible_become_password: {cmd: pass show fleet}
ansible_ssh_common_args: -o ProxyJump=ops@bastion:2200
fleettrace_bpftrace: toolbox run -c "my tools" bpftrace
fleettrace_scope: netns
fleettrace_transport: openssh
fleettrace_instances: [11211, "port:11212", "container:mc-*", "user:memcache"]""",
    )
    assert found == HostSettings(
        name="cache-1",
        address="10.0.0.1",
        port=2222,
        user="tracer",
        connection=ConnectionKind.LOCAL,
        key_file=Path.home() / ".ssh/fleet",
        password="letmein",
        connection_name="local",
        become=BecomeSettings(password=SecretCommand("pass show fleet")),
        ssh_arguments=("-o", "ProxyJump=ops@bastion:2200"),
        bpftrace=("toolbox", "run", "-c", "my tools", "bpftrace"),
        scope=InstanceScope.NETNS,
        client=SshClient.OPENSSH,
        instances=tuple(
            InstanceSelector(SelectorKind(kind), value)
            for kind, value in [("port", "11211"), ("port", "11212"), ("container", "mc-*"), ("user", "memcache")]
        ),
    )


def test_repr_hides_secrets(tmp_path: Path) -> None:
    found = _settings(tmp_path, "ansible_password: hunter2\nansible_become_password: hunter3")
    assert found.password == "hunter2"
    assert "hunter" not in repr(found)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("ansible_port: 70000", "4: ansible_port of cache-1: expected a port from 1 to 65535"),
        ("ansible_port: ssh", "4: ansible_port of cache-1: expected a port"),
        ("ansible_host: [a]", "4: ansible_host of cache-1: expected a string"),
        ('ansible_user: "a\\nb"', "4: ansible_user of cache-1: expected a string"),
        ('rack: 1\nansible_host: "{{ inventory_hostname }}.net"', "5: ansible_host of cache-1: it is a Jinja template"),
        ('ansible_password: "{{ vault_x }}"', "4: ansible_password of cache-1: it is a Jinja template"),
        ('ansible_become_password: {cmd: "{{ x }}"}', "4: ansible_become_password of cache-1: it is a Jinja template"),
        ("ansible_password: !vault |\n  x", "4: ansible_password of cache-1: it is encrypted by ansible-vault"),
        ("ansible_password: {command: x}", "4: ansible_password of cache-1: expected a string or {cmd: COMMAND LINE}"),
        ("ansible_become_method: magic", "4: ansible_become_method of cache-1: expected one of sudo, su, doas"),
        ('ansible_ssh_common_args: "-o \'unclosed"', "4: ansible_ssh_common_args of cache-1: No closing quotation"),
        ("ansible_timeout: soon", "4: ansible_timeout of cache-1: expected seconds"),
        ("ansible_become: maybe", "4: ansible_become of cache-1: expected true or false"),
        ("fleettrace_scope: pod", "4: fleettrace_scope of cache-1: expected host or netns, not 'pod'"),
        ("fleettrace_transport: rsh", "4: fleettrace_transport of cache-1: expected ssh or openssh, not 'rsh'"),
        ("fleettrace_bpftrace: []", "4: fleettrace_bpftrace of cache-1: expected a command line"),
        ("fleettrace_bpftrace: 'a \"b'", "4: fleettrace_bpftrace of cache-1: No closing quotation"),
        (
            "fleettrace_instances:\n  - 1\n  - pid:7",
            "6: fleettrace_instances of cache-1: expected a port number, port:11211",
        ),
        ("fleettrace_instances: [0]", "4: fleettrace_instances of cache-1: 0: expected a port from 1 to 65535"),
        ("fleettrace_instances: [true]", "4: fleettrace_instances of cache-1: expected a port number"),
        ("fleettrace_instances: ['container:']", "4: fleettrace_instances of cache-1: expected a port number"),
        ('fleettrace_instances: ["user:{{ u }}"]', "4: fleettrace_instances of cache-1: it is a Jinja template"),
    ],
)
def test_unusable_value_is_an_error_with_its_line(tmp_path: Path, variables: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _settings(tmp_path, variables)
    assert str(caught.value).startswith(f"{tmp_path}/inventory.yaml:{expected}")
    assert "\n" not in str(caught.value)


def test_unread_variables_may_hold_anything(tmp_path: Path) -> None:
    variables = 'motd: "{{ x }}"\nkey: !vault |\n  x\nansible_python_interpreter: "{{ y }}"'
    assert _settings(tmp_path, variables) == HostSettings("cache-1")


def test_empty_text_counts_as_unset(tmp_path: Path) -> None:
    assert _settings(tmp_path, "ansible_host: ''\nansible_ssh_common_args: ''") == HostSettings("cache-1")


def test_unsafe_string_is_not_a_template(tmp_path: Path) -> None:
    assert _settings(tmp_path, 'ansible_password: !unsafe "a{{b"').password == "a{{b"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("ansible_become_method: su", BecomeSettings("su")),
        ("ansible_become_method: ansible.builtin.su\nansible_su_user: ops", BecomeSettings("su", "ops")),
        (
            "ansible_become_exe: /opt/sudo\nansible_become_flags: -H -n",
            BecomeSettings("sudo", "root", "/opt/sudo", ("-H", "-n")),
        ),
        ("ansible_become_method: su\nansible_sudo_pass: x", BecomeSettings("su")),
        ("ansible_become_method: su\nansible_su_pass: x", BecomeSettings("su", password="x")),
        ("ansible_become_method: none", None),
        ("ansible_become: false", None),
    ],
)
def test_become_variables_are_of_one_method(tmp_path: Path, variables: str, expected: BecomeSettings | None) -> None:
    assert _settings(tmp_path, variables).become == expected


@pytest.mark.parametrize("name", ["smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ssh"])
def test_names_of_ssh_mean_ssh(tmp_path: Path, name: str) -> None:
    assert _settings(tmp_path, f"ansible_connection: {name}").connection is ConnectionKind.SSH


@pytest.mark.parametrize("name", ["winrm", "ansible.netcommon.network_cli", "community.docker.docker"])
def test_other_connections_are_unsupported(tmp_path: Path, name: str) -> None:
    found = _settings(tmp_path, f"ansible_connection: {name}")
    assert (found.connection, found.connection_name) == (ConnectionKind.UNSUPPORTED, name)


def test_ssh_arguments_keep_ansibles_order() -> None:
    variables = {
        "ansible_ssh_extra_args": "-o C=3",
        "ansible_ssh_common_args": '-o ProxyCommand="ssh -W %h:%p gw"',
        "ansible_ssh_args": "-o A=1",
    }
    words = ("-o", "A=1", "-o", "ProxyCommand=ssh -W %h:%p gw", "-o", "C=3")
    assert host_settings(Host("h", variables)).ssh_arguments == words


_OPTIONS: dict[str, tuple[str, str]] = {
    "address": ("ssh", "host"),
    "user": ("ssh", "remote_user"),
    "password": ("ssh", "password"),
    "become_password": ("sudo", "become_pass"),
    "port": ("ssh", "port"),
    "key_file": ("ssh", "private_key_file"),
}
_ALIASES = (
    "ansible_host ansible_ssh_host ansible_user ansible_ssh_user ansible_password ansible_ssh_pass "
    "ansible_ssh_password ansible_become_password ansible_become_pass ansible_sudo_pass ansible_private_key_file "
    "ansible_ssh_private_key_file"
)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.sampled_from(_ALIASES.split()), st.sampled_from(["/one", "/two", "/three"]), max_size=6),
    st.dictionaries(st.sampled_from(["ansible_port", "ansible_ssh_port"]), st.sampled_from([22, "23", 24])),
)
def test_alias_precedence_is_ansibles(texts: dict[str, str], ports: dict[str, Any]) -> None:
    variables = {**texts, **ports}
    found = host_settings(Host("h", variables))
    for ours, (plugin, theirs) in _OPTIONS.items():
        assert found.become is not None
        value = found.become.password if ours == "become_password" else getattr(found, ours)
        chosen = option(plugin, theirs, variables)
        unset = option(plugin, theirs, {})
        assert str(chosen) == str(unset if value is None else value), ours


def test_selectors_match_instances() -> None:
    def error(message: str) -> ConfigError:
        return ConfigError(message)

    port, container, user = (InstanceSelector.parse(text, error) for text in ("11211", "container:mc-?", "user:bob"))
    assert port.matches({11211, 80}, None, None) and not port.matches({80}, "mc-1", "bob")
    assert container.matches((), "mc-1", None) and not container.matches((), "mc-10", None)
    assert not container.matches((), None, "bob")
    assert user.matches((), None, "bob") and not user.matches((), None, None)
    assert [str(selector) for selector in (port, container, user)] == ["port:11211", "container:mc-?", "user:bob"]
