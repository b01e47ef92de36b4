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
from tests.inventory.oracle import option


def _settings(tmp_path: Path, variables: str) -> HostSettings:
    path = tmp_path / "inventory.yaml"
    indented = "".join(f"      {line}\n" for line in variables.splitlines())
    path.write_text(f"all:\n  hosts:\n    cache-1:\n{indented}")
    return host_settings(load_inventory(str(path)).hosts["cache-1"])


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
        become=True,
        become_password=SecretCommand("pass show fleet"),
        proxy_jump="ops@bastion:2200",
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
        ("ansible_host: ''", "4: ansible_host of cache-1: expected a string"),
        ('ansible_user: "a\\nb"', "4: ansible_user of cache-1: expected a string"),
        ('rack: 1\nansible_host: "{{ inventory_hostname }}.net"', "5: ansible_host of cache-1: it is a Jinja template"),
        ('ansible_password: "{{ vault_x }}"', "4: ansible_password of cache-1: it is a Jinja template"),
        ('ansible_become_password: {cmd: "{{ x }}"}', "4: ansible_become_password of cache-1: it is a Jinja template"),
        ("ansible_password: !vault |\n  x", "4: ansible_password of cache-1: it is encrypted by ansible-vault"),
        ("ansible_password: {command: x}", "4: ansible_password of cache-1: expected a string or {cmd: COMMAND LINE}"),
        ("ansible_connection: winrm", "4: ansible_connection of cache-1: expected ssh or local, not 'winrm'"),
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
    assert (
        _settings(tmp_path, 'motd: "{{ x }}"\nkey: !vault |\n  x\nansible_python_interpreter: "{{ y }}"').warnings == ()
    )


def test_unsafe_string_is_not_a_template(tmp_path: Path) -> None:
    assert _settings(tmp_path, 'ansible_password: !unsafe "a{{b"').password == "a{{b"


def test_ignored_settings_are_warnings(tmp_path: Path) -> None:
    found = _settings(
        tmp_path,
        "ansible_become_method: su\nansible_become_user: app\n"
        "ansible_ssh_common_args: -o StrictHostKeyChecking=no -J b1",
    )
    assert found.proxy_jump == "b1"
    assert [warning.split(" is ")[0] for warning in found.warnings] == [
        "cache-1: ansible_ssh_common_args: StrictHostKeyChecking",
        "cache-1: ansible_become_method",
        "cache-1: ansible_become_user",
    ]


@pytest.mark.parametrize(
    ("text", "jump", "unknown"),
    [
        ("-J bastion", "bastion", []),
        ("-Jops@bastion:22", "ops@bastion:22", []),
        ("-o ProxyJump=a,b", "a,b", []),
        ("-oProxyJump=a", "a", []),
        ('-o "ProxyJump a"', "a", []),
        ("-o proxyjump=none", None, []),
        ("-o ProxyJump=a -o ProxyJump=b", "a", []),
        ('-o ProxyCommand="ssh -W %h:%p b" -C', None, ["ProxyCommand", "-C"]),
        ("-o 'unclosed", None, ['"-o \'unclosed"']),
    ],
)
def test_jump_host_of_ssh_arguments(text: str, jump: str | None, unknown: list[str]) -> None:
    found = host_settings(Host("h", {"ansible_ssh_common_args": text}))
    prefix, suffix = "h: ansible_ssh_common_args: ", " is ignored"
    assert found.proxy_jump == jump
    assert [warning.removeprefix(prefix).split(suffix)[0] for warning in found.warnings] == unknown


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
        value, chosen = getattr(found, ours), option(plugin, theirs, variables)
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
