"""The settings of a host, checked: what fleettrace takes from its inventory variables.

Connection variables have Ansible's names and aliases; where several are set, the same one counts as in Ansible. The
tool's own variables begin with `fleettrace_`. A value that cannot be used is an error with its file and line. A
variable that fleettrace does not read may hold anything, also a template or a secret.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fleettrace.inventory.model import Host, Inventory
from fleettrace.inventory.selectors import InstanceSelector
from fleettrace.inventory.values import Values

__all__ = [
    "OWN_VARIABLES",
    "ConnectionKind",
    "HostSettings",
    "InstanceScope",
    "SecretCommand",
    "SshClient",
    "check_names",
    "host_settings",
]

OWN_VARIABLES = ("fleettrace_bpftrace", "fleettrace_instances", "fleettrace_scope", "fleettrace_transport")
"""The tool's own variables."""
_PREFIX = "fleettrace_"

# Each in the order of Ansible's plugin documentation (ssh connection, sudo become): the last one that is set wins.
_ADDRESS = ("ansible_host", "ansible_ssh_host")
_PORT = ("ansible_port", "ansible_ssh_port")
_USER = ("ansible_user", "ansible_ssh_user")
_KEY_FILE = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_BECOME_PASSWORD = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
_SSH_ARGS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_CONNECTIONS = {
    name: name.rpartition(".")[2] for name in ("ssh", "local", "ansible.builtin.ssh", "ansible.builtin.local")
}


class ConnectionKind(StrEnum):
    """The way to run scripts on a host."""

    SSH = "ssh"
    LOCAL = "local"


class SshClient(StrEnum):
    """The client that logs in over SSH."""

    OWN = "ssh"
    """fleettrace's own, with fabric."""
    OPENSSH = "openssh"
    """The system's `ssh`."""


class InstanceScope(StrEnum):
    """The memcached processes of a machine that belong to the host."""

    HOST = "host"
    """All processes, also those in containers."""
    NETNS = "netns"
    """The processes in the network namespace of the login."""


_CLIENTS = {client.value: client.value for client in SshClient}
_SCOPES = {scope.value: scope.value for scope in InstanceScope}


@dataclass(frozen=True, slots=True)
class SecretCommand:
    """A command that prints a secret, written `{cmd: ...}`. It runs on the controller when the secret is needed."""

    command: str


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The settings of one host. None: the inventory does not set it."""

    name: str
    address: str | None = None
    port: int | None = None
    user: str | None = None
    connection: ConnectionKind = ConnectionKind.SSH
    client: SshClient = SshClient.OWN
    key_file: Path | None = None
    password: str | SecretCommand | None = field(default=None, repr=False)
    become: bool | None = None
    """None: become root, unless the user who logs in is root, which only the host knows."""
    become_password: str | SecretCommand | None = field(default=None, repr=False)
    proxy_jump: str | None = None
    bpftrace: tuple[str, ...] = ("bpftrace",)
    """The command that runs bpftrace there, as an argument list."""
    scope: InstanceScope = InstanceScope.HOST
    instances: tuple[InstanceSelector, ...] = ()
    """The instances to trace; empty: all."""
    warnings: tuple[str, ...] = ()
    """Settings of the inventory that fleettrace ignores, one line each."""


def host_settings(host: Host) -> HostSettings:
    """Return the settings of `host`. Raises `ConfigError`, which names the variable that cannot be used."""
    values = Values(host)
    jump, warnings = _parse_ssh_args((name, text) for name in _SSH_ARGS if (text := values.text(name)))
    key_file = values.text(*_KEY_FILE)
    return HostSettings(
        name=host.name,
        address=values.text(*_ADDRESS),
        port=values.port(*_PORT),
        user=values.text(*_USER),
        connection=ConnectionKind(values.choice("ansible_connection", _CONNECTIONS) or "ssh"),
        client=SshClient(values.choice("fleettrace_transport", _CLIENTS) or "ssh"),
        key_file=Path(key_file).expanduser() if key_file else None,
        password=_secret(values, _PASSWORD),
        become=values.truth("ansible_become"),
        become_password=_secret(values, _BECOME_PASSWORD),
        proxy_jump=jump,
        bpftrace=values.command("fleettrace_bpftrace") or ("bpftrace",),
        scope=InstanceScope(values.choice("fleettrace_scope", _SCOPES) or "host"),
        instances=tuple(InstanceSelector.parse(item, error) for item, error in values.items("fleettrace_instances")),
        warnings=(*(f"{host.name}: {warning}" for warning in (*warnings, *_become_warnings(values))),),
    )


def check_names(inventory: Inventory) -> None:
    """Raise `ConfigError` for the first variable that begins with `fleettrace_` and is not one of `OWN_VARIABLES`."""
    for layer in inventory.layers:
        for name in layer.values:
            if isinstance(name, str) and name.startswith(_PREFIX) and name not in OWN_VARIABLES:
                raise layer.origin.at(name).error(f"unknown variable {name!r}: {_nearest(name)}")


def _nearest(name: str) -> str:
    words = [own.removeprefix(_PREFIX) for own in OWN_VARIABLES]
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), words, 1)
    return f"did you mean {_PREFIX}{near[0]}?" if near else f"use one of {', '.join(OWN_VARIABLES)}"


def _secret(values: Values, names: tuple[str, ...]) -> str | SecretCommand | None:
    command = values.mapping_with("cmd", *names)
    return SecretCommand(command) if command is not None else values.text(*names)


def _become_warnings(values: Values) -> list[str]:
    method, user = values.raw("ansible_become_method"), values.raw("ansible_become_user", "ansible_sudo_user")
    found = []
    if method not in (None, "sudo", "ansible.builtin.sudo"):
        found.append("ansible_become_method is ignored: fleettrace uses sudo")
    if user not in (None, "root"):
        found.append("ansible_become_user is ignored: bpftrace needs root")
    return found


def _parse_ssh_args(arguments: Iterable[tuple[str, str]]) -> tuple[str | None, list[str]]:
    """Return the first jump host of ssh options, which are given as (variable, text) pairs, and warnings."""
    jump: str | None = None
    warnings: list[str] = []
    for variable, text in arguments:
        for option, value in _ssh_options(text):
            if option.lower() == "proxyjump" and value:
                jump = jump or value
            else:
                warnings.append(
                    f"{variable}: {option} is ignored: only ProxyJump is used here; put the rest into ~/.ssh/config"
                )
    return (None if jump and jump.lower() == "none" else jump), warnings


def _ssh_options(text: str) -> Iterator[tuple[str, str]]:
    """Yield option names and values: `-J x` as ProxyJump, and a word that is not `-o` or `-J` as an option."""
    try:
        words = shlex.split(text)
    except ValueError:
        yield repr(text), ""
        return
    rest = iter(words)
    for word in rest:
        flag, value = word[:2], word[2:]
        if flag not in ("-o", "-J"):
            yield word, ""
            continue
        value = value or next(rest, "")
        if flag == "-J":
            yield "ProxyJump", value
        else:
            name, _, setting = value.strip().replace("=", " ", 1).partition(" ")
            yield name or "-o", setting.strip()
