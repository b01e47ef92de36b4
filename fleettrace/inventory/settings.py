"""The settings of a host, checked: what fleettrace takes from its inventory variables.

Connection variables have Ansible's names and aliases; where several are set, the same one counts as in Ansible, and
where none is, ansible.cfg's setting. The tool's own variables begin with `fleettrace_`. A value that cannot be used is
an error with its file and line. A variable that fleettrace does not read may hold anything.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fleettrace.inventory.ansible_config import BECOME_METHODS, AnsibleConfig
from fleettrace.inventory.endpoint import ENDPOINT_VARIABLES, EndpointSettings, endpoint_settings
from fleettrace.inventory.model import Host, Inventory
from fleettrace.inventory.resolver import Resolver
from fleettrace.inventory.selectors import InstanceSelector
from fleettrace.inventory.values import Values

__all__ = [
    "OWN_VARIABLES",
    "BecomeSettings",
    "ConnectionKind",
    "HostSettings",
    "InstanceScope",
    "SecretCommand",
    "SshClient",
    "check_names",
    "host_settings",
]

OWN_VARIABLES = (
    "fleettrace_bpftrace",
    *ENDPOINT_VARIABLES,
    "fleettrace_instances",
    "fleettrace_scope",
    "fleettrace_transport",
)
"""The tool's own variables."""
_PREFIX = "fleettrace_"

# Each in the order of Ansible's plugin documentation (ssh connection, become): the last one that is set wins.
_ADDRESS = ("ansible_host", "ansible_ssh_host")
_PORT = ("ansible_port", "ansible_ssh_port")
_USER = ("ansible_user", "ansible_ssh_user")
_KEY_FILE = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
_HOST_KEY_CHECKING = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
# In the order in which Ansible gives them to ssh, where the first value of an option counts.
_SSH_ARGS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
_COLLECTIONS = ("ansible.builtin.", "community.general.", "ansible.netcommon.", "community.docker.")


class ConnectionKind(StrEnum):
    """The way to run scripts on a host."""

    SSH = "ssh"
    LOCAL = "local"
    UNSUPPORTED = "unsupported"
    """A connection of Ansible that fleettrace does not have."""


_CONNECTIONS = {
    "ssh": ConnectionKind.SSH,
    "smart": ConnectionKind.SSH,
    "paramiko": ConnectionKind.SSH,
    "paramiko_ssh": ConnectionKind.SSH,
    "local": ConnectionKind.LOCAL,
}


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
_NO_CONFIG = AnsibleConfig()
_METHODS = {method: method for method in (*BECOME_METHODS, "none")}


@dataclass(frozen=True, slots=True)
class SecretCommand:
    """A command that prints a secret, written `{cmd: ...}`. It runs on the controller when the secret is needed."""

    command: str


@dataclass(frozen=True, slots=True)
class BecomeSettings:
    """How to become the user who traces."""

    method: str = "sudo"
    user: str = "root"
    executable: str | None = None
    """None: the method's name."""
    flags: tuple[str, ...] | None = None
    """None: the method's own."""
    password: str | SecretCommand | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The settings of one host. None: neither the inventory nor ansible.cfg sets it."""

    name: str
    address: str | None = None
    port: int | None = None
    user: str | None = None
    connection: ConnectionKind = ConnectionKind.SSH
    connection_name: str = "ssh"
    """As the inventory names it."""
    client: SshClient = SshClient.OWN
    key_file: Path | None = None
    password: str | SecretCommand | None = field(default=None, repr=False)
    become: BecomeSettings | None = field(default_factory=BecomeSettings)
    """None: the user who logs in traces. Where that user is root already, nothing is done to become root."""
    ssh_arguments: tuple[str, ...] = ()
    """Options for `ssh`, word by word; of an option that is given twice, the first value counts."""
    ssh_executable: str | None = None
    connect_timeout: float | None = None
    """Seconds."""
    host_key_checking: bool | None = None
    """False: the site accepts the keys of unknown hosts."""
    bpftrace: tuple[str, ...] = ("bpftrace",)
    """The command that runs bpftrace there, as an argument list."""
    scope: InstanceScope = InstanceScope.HOST
    instances: tuple[InstanceSelector, ...] = ()
    """The instances to trace; empty: all."""
    endpoint: EndpointSettings | None = None
    """The memcached port to ask in place of a login; None: log in."""


def host_settings(
    host: Host, config: AnsibleConfig = _NO_CONFIG, resolver: Resolver | None = None, *, secrets: bool = True
) -> HostSettings:
    """Return the settings of `host`, with those of `config` where its variables set none.

    `resolver` evaluates templates and decrypts values. Without `secrets` no variable with a password is read.

    Raises `ConfigError`, which names the variable that cannot be used.
    """
    values = Values(host, resolver)
    connection = values.text("ansible_connection") or config.text("transport") or "ssh"
    key_file = values.text(*_KEY_FILE) or config.text("private_key_file")
    checking = values.truth(*_HOST_KEY_CHECKING)
    return HostSettings(
        name=host.name,
        address=values.text(*_ADDRESS),
        port=values.port(*_PORT) or config.number("remote_port"),
        user=values.text(*_USER) or config.text("remote_user"),
        connection=_CONNECTIONS.get(_short(connection), ConnectionKind.UNSUPPORTED),
        connection_name=connection,
        client=SshClient(values.choice("fleettrace_transport", _CLIENTS) or "ssh"),
        key_file=Path(key_file).expanduser() if key_file else None,
        password=_secret(values, _PASSWORD) if secrets else None,
        become=None if values.truth("ansible_become") is False else _become(values, config, secrets),
        ssh_arguments=_ssh_arguments(values, config),
        ssh_executable=values.text("ansible_ssh_executable") or config.text("ssh_executable"),
        connect_timeout=values.seconds(*_TIMEOUT),
        host_key_checking=config.truth("host_key_checking") if checking is None else checking,
        bpftrace=values.command("fleettrace_bpftrace") or ("bpftrace",),
        scope=InstanceScope(values.choice("fleettrace_scope", _SCOPES) or "host"),
        instances=tuple(InstanceSelector.parse(item, error) for item, error in values.items("fleettrace_instances")),
        endpoint=endpoint_settings(values),
    )


def check_names(inventory: Inventory) -> None:
    """Raise `ConfigError` for the first variable that begins with `fleettrace_` and is not one of `OWN_VARIABLES`."""
    for layer in inventory.layers:
        for name in layer.values:
            if isinstance(name, str) and name.startswith(_PREFIX) and name not in OWN_VARIABLES:
                raise layer.origin.at(name).error(f"unknown variable {name!r}: {_nearest(name)}")


def _nearest(name: str) -> str:
    words = [own.removeprefix(_PREFIX) for own in OWN_VARIABLES]
    import difflib

    near = difflib.get_close_matches(name.removeprefix(_PREFIX), words, 1)
    return f"did you mean {_PREFIX}{near[0]}?" if near else f"use one of {', '.join(OWN_VARIABLES)}"


def _short(name: str) -> str:
    """Return the name of a plugin without its collection."""
    return next((name.removeprefix(each) for each in _COLLECTIONS if name.startswith(each)), name)


def _secret(values: Values, names: tuple[str, ...]) -> str | SecretCommand | None:
    command = values.mapping_with("cmd", *names)
    return SecretCommand(command) if command is not None else values.text(*names)


def _become(values: Values, config: AnsibleConfig, secrets: bool) -> BecomeSettings | None:
    named = _short(values.text("ansible_become_method") or config.text("become_method") or "sudo")
    method = _METHODS.get(named)
    if method is None:
        raise values.error("ansible_become_method", f"expected one of {', '.join(_METHODS)}, not {named!r}")
    if method == "none":
        return None

    def setting(variable: str) -> str | None:
        option = variable.removeprefix("ansible_become_")
        given = values.text(variable, f"ansible_{method}_{option}")
        return given or config.text(f"{method}_{option}") or config.text(f"become_{option}")

    flags = setting("ansible_become_flags")
    password: str | SecretCommand | None = None
    if secrets:
        password = _secret(values, ("ansible_become_password", "ansible_become_pass", f"ansible_{method}_pass"))
        password = password or config.text(f"{method}_pass") or config.text("become_pass")
    return BecomeSettings(
        method,
        setting("ansible_become_user") or "root",
        setting("ansible_become_exe"),
        None if flags is None else _words(flags, "ansible_become_flags", values),
        password,
    )


def _ssh_arguments(values: Values, config: AnsibleConfig) -> tuple[str, ...]:
    words: list[str] = []
    for name in _SSH_ARGS:
        text = values.text(name) or config.text(name.removeprefix("ansible_"))
        if text:
            words += _words(text, name, values)
    return tuple(words)


def _words(text: str, variable: str, values: Values) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise values.error(variable, f"{error} in {text!r}: expected options as on a command line") from None
