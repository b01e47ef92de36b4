"""What fleettrace takes from a host's variables, typed and checked.

Connection variables have Ansible's names and Ansible's aliases (where several are set, the one that Ansible would take
wins); the tool's own begin with `fleettrace_`. A value that cannot be used is an error at the file and line where it
was written; a variable that nobody reads here may hold whatever it likes, templates and secrets included.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fleettrace.inventory.model import Host, Inventory
from fleettrace.inventory.selectors import InstanceSelector
from fleettrace.inventory.ssh_args import parse_ssh_args
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
"""Every variable of the tool's own."""
_PREFIX = "fleettrace_"

# Each in the order of Ansible's plugin documentation (ssh connection, sudo become), where the last that is set wins.
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
    """How a host is reached."""

    SSH = "ssh"
    LOCAL = "local"


class SshClient(StrEnum):
    """Which client logs in over SSH."""

    OWN = "ssh"
    OPENSSH = "openssh"
    """The system's `ssh`."""


class InstanceScope(StrEnum):
    """Which memcached processes of a machine belong to the host."""

    HOST = "host"
    """All of them, in containers too."""
    NETNS = "netns"
    """Those in the network namespace that one logs in to."""


_CLIENTS = {client.value: client.value for client in SshClient}
_SCOPES = {scope.value: scope.value for scope in InstanceScope}


@dataclass(frozen=True, slots=True)
class SecretCommand:
    """A secret that a command on the controller prints, written `{cmd: ...}`; it is run when the secret is needed."""

    command: str


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One host's settings. None means that the inventory does not say."""

    name: str
    address: str | None = None
    port: int | None = None
    user: str | None = None
    connection: ConnectionKind = ConnectionKind.SSH
    client: SshClient = SshClient.OWN
    key_file: Path | None = None
    password: str | SecretCommand | None = field(default=None, repr=False)
    become: bool | None = None
    """None: become root unless the user who logs in is root already, which only the host can say."""
    become_password: str | SecretCommand | None = field(default=None, repr=False)
    proxy_jump: str | None = None
    bpftrace: tuple[str, ...] = ("bpftrace",)
    """The words of the command that runs bpftrace there."""
    scope: InstanceScope = InstanceScope.HOST
    instances: tuple[InstanceSelector, ...] = ()
    """Which instances are wanted; empty: all."""
    warnings: tuple[str, ...] = ()
    """What the inventory asks for and fleettrace does not do, one line each."""


def host_settings(host: Host) -> HostSettings:
    """The settings that `host`'s variables make. Raises `ConfigError` at the variable that cannot be used."""
    values = Values(host)
    jump, warnings = parse_ssh_args((name, text) for name in _SSH_ARGS if (text := values.text(name)))
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
    """Raise `ConfigError` for the first variable that begins with `fleettrace_` and is none of `OWN_VARIABLES`."""
    for layer in inventory.layers:
        for name in layer.values:
            if isinstance(name, str) and name.startswith(_PREFIX) and name not in OWN_VARIABLES:
                raise layer.origin.at(name).error(f"unknown variable {name!r}: {_nearest(name)}")


def _nearest(name: str) -> str:
    words = [own.removeprefix(_PREFIX) for own in OWN_VARIABLES]
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), words, 1)
    return f"did you mean {_PREFIX}{near[0]}?" if near else f"there are {', '.join(OWN_VARIABLES)}"


def _secret(values: Values, names: tuple[str, ...]) -> str | SecretCommand | None:
    command = values.mapping_with("cmd", *names)
    return SecretCommand(command) if command is not None else values.text(*names)


def _become_warnings(values: Values) -> list[str]:
    method, user = values.raw("ansible_become_method"), values.raw("ansible_become_user", "ansible_sudo_user")
    found = []
    if method not in (None, "sudo", "ansible.builtin.sudo"):
        found.append("ansible_become_method is not honoured: sudo is used")
    if user not in (None, "root"):
        found.append("ansible_become_user is not honoured: bpftrace needs root")
    return found
