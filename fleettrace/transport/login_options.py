"""Decide how to log in to a target: by the inventory first, then by ssh_config, then by SSH's defaults.

OpenSSH itself reads ssh_config (`ssh_query`). It is asked for the name that Ansible would give to `ssh`: the address of
the inventory, else the host's name.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.transport.interface import HostKeyPolicy, Target
from fleettrace.transport.ssh_arguments import parse_arguments
from fleettrace.transport.ssh_query import Answer, SshQueries, SshQuery
from fleettrace.transport.ssh_tokens import expand, user_path

__all__ = ["LoginOptions", "ask_ssh", "host_key_policy", "local_user", "login_options", "query_of"]

_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
# The order of ssh_config(5), without the keys that need hardware.
_DEFAULT_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
_UNCHECKED = ("accept-new", "no", "off", "false")
_MAX_JUMPS = 8
"""Bastions one behind the other; more are a loop in ssh_config."""


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """Everything that a login needs to know, after inventory, ssh_config and defaults were merged."""

    host: str
    port: int
    user: str
    host_key_name: str
    """The name in known_hosts: `host`, `[host]:port`, or ssh_config's HostKeyAlias."""
    known_hosts: tuple[Path, ...]
    key_file: Path | None
    """The inventory's key; a login fails where it cannot be used."""
    identities: tuple[Path, ...]
    """The keys of ssh_config, or the default ones. Files that do not exist are skipped."""
    certificates: tuple[Path, ...]
    agent: str | None
    """The path of the agent's socket, None for no agent."""
    identities_only: bool
    """Use no keys of the agent but those with a public half in `identities`."""
    bastion: LoginOptions | None
    """The bastion next to the host, which may have a bastion itself."""
    proxy_command: str | None
    host_key: HostKeyPolicy = HostKeyPolicy.STRICT
    new_keys: Path | None = None
    """The file for new host keys: the user's first known_hosts file, None where there is none."""
    hashed_names: bool = False
    """Write host names into that file as hashes (ssh_config's HashKnownHosts)."""
    plain_key_name: str | None = None
    """The name without its port, under which OpenSSH looks for a key that it finds under no other."""
    algorithms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Keywords of ssh_config for algorithms, in lower case, with the names that they allow, best first."""
    password: str | None = field(default=None, repr=False, compare=False)

    @property
    def address(self) -> str:
        """`host:port` for messages, without the default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 22 else f"{host}:{self.port}"


def local_user() -> str:
    """Return the name of the controller's user. Raises `ConfigError` where the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigError(
            f"the name of the user to log in as is unknown: uid {os.getuid()} has no passwd entry, and neither LOGNAME "
            "nor USER is set; set USER"
        ) from None


def query_of(target: Target) -> SshQuery:
    """Return what `ssh` would be given for a target. Raises `ConfigError` for arguments that are no login's."""
    arguments = parse_arguments(target.ssh_arguments)
    return SshQuery(
        target.address or target.name,
        target.port,
        target.user,
        arguments.words,
        arguments.config_file or target.ssh_config,
        target.ssh_executable or "ssh",
    )


def ask_ssh(target: Target, queries: SshQueries) -> Answer:
    """Return ssh_config's values for a target. Raises `ConfigError`."""
    return queries.ask(query_of(target))


def host_key_policy(target: Target, answer: Answer) -> HostKeyPolicy:
    """Return the target's policy for unknown host keys, or ssh_config's where it has none."""
    if target.host_key is not None:
        return target.host_key
    site = answer.get("stricthostkeychecking", ("ask",))[0].lower()
    return HostKeyPolicy.ACCEPT_NEW if site in _UNCHECKED else HostKeyPolicy.STRICT


def login_options(target: Target, queries: SshQueries) -> LoginOptions:
    """Return the options of the login to `target`. Raises `ConfigError`."""
    local_user()
    answer = ask_ssh(target, queries)
    options = _own_options(target, answer, queries)
    jump = answer.get("proxyjump", ("none",))[0]
    if jump.lower() == "none":
        return options
    return replace(options, bastion=_bastion(jump.split(","), target, queries, _MAX_JUMPS), proxy_command=None)


def _own_options(target: Target, answer: Answer, queries: SshQueries) -> LoginOptions:
    """Return the options without a bastion."""
    host = answer["hostname"][0]
    port = target.port or _port(answer, target)
    user = target.user or answer.get("user", (local_user(),))[0]
    alias = answer.get("hostkeyalias", ("",))[0]
    name = target.address or target.name
    tokens = {"h": host, "p": str(port), "r": user, "n": name, "k": alias or name, "j": _jump(answer)}
    user_files = _known_hosts(
        answer.get("userknownhostsfile", (_USER_KNOWN_HOSTS,))[0], lambda each: user_path(each, tokens)
    )
    # As ssh.c: this list has neither tokens nor variables.
    system_files = _known_hosts(
        answer.get("globalknownhostsfile", (_SYSTEM_KNOWN_HOSTS,))[0], lambda each: Path(each).expanduser()
    )
    if target.known_hosts is not None:
        user_files, system_files = (target.known_hosts.expanduser(),), ()
    command = answer.get("proxycommand", ("none",))[0]
    return LoginOptions(
        host=host,
        port=port,
        user=user,
        host_key_name=alias or (host if port == 22 else f"[{host}]:{port}"),
        plain_key_name=None if alias or port == 22 else host,
        known_hosts=(*user_files, *system_files),
        key_file=None if target.key_file is None else target.key_file.expanduser(),
        identities=tuple(user_path(each, tokens) for each in answer.get("identityfile", _DEFAULT_KEYS)),
        certificates=tuple(
            user_path(each, tokens) for each in answer.get("certificatefile", ()) if each.lower() != "none"
        ),
        agent=_agent(answer.get("identityagent", ("SSH_AUTH_SOCK",))[0], tokens),
        identities_only=answer.get("identitiesonly", ("no",))[0].lower() in ("yes", "true"),
        bastion=None,
        proxy_command=None if command.lower() == "none" else expand(command, tokens, target.name),
        host_key=host_key_policy(target, answer),
        new_keys=next(iter(user_files), None),
        hashed_names=answer.get("hashknownhosts", ("no",))[0].lower() in ("yes", "true"),
        algorithms=queries.chosen_algorithms(answer, target.ssh_executable or "ssh"),
        password=target.password,
    )


def _port(answer: Answer, target: Target) -> int:
    text = answer.get("port", ("22",))[0]
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ConfigError(f"ssh_config: Port {text!r} of {target.name} is not a port: expected 1 to 65535")
    return int(text)


def _jump(answer: Answer) -> str:
    jump = answer.get("proxyjump", ("none",))[0]
    return "" if jump.lower() == "none" else jump


def _known_hosts(value: str, path_of: Callable[[str], Path]) -> tuple[Path, ...]:
    """Return the files of a list that `ssh -G` prints without quotes: a path with blanks is one that exists."""
    words = value.split(" ")
    files: list[Path] = []
    while words:
        length = next((count for count in range(len(words), 1, -1) if path_of(" ".join(words[:count])).exists()), 1)
        text, words = " ".join(words[:length]), words[length:]
        if text and text.lower() != "none":
            files.append(path_of(text))
    return tuple(files)


def _agent(value: str, tokens: dict[str, str]) -> str | None:
    """Return the socket of IdentityAgent: a path, `SSH_AUTH_SOCK`, the variable after a `$`, or none."""
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", value):
        return os.environ.get(value[1:]) or None
    return str(user_path(value, tokens))


def _bastion(jumps: Sequence[str], target: Target, queries: SshQueries, depth: int) -> LoginOptions:
    """Return the options of the last of `jumps`, which is reached through the jumps before it, as with `ssh -J`."""
    spec = jumps[-1].strip().removeprefix("ssh://")
    user, _, address = spec.rpartition("@")
    bracketed = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?|(.+)", address)
    if bracketed is None:
        raise ConfigError(f"ProxyJump {spec!r} of {target.name}: expected [user@]host[:port]")
    name = bracketed[1] or bracketed[3] or bracketed[5]
    port = bracketed[2] or bracketed[4]
    itself = (name, port or "22") == (target.address, str(target.port or 22))
    if name == target.name or itself or depth == 0:
        raise ConfigError(f"ProxyJump of {target.name} leads to itself: exclude it from the `Host` pattern")
    own = parse_arguments(target.ssh_arguments)
    jump = Target(
        name=name,
        port=int(port) if port else None,
        user=user or None,
        known_hosts=target.known_hosts,
        host_key=target.host_key,
        # As ssh.c: the jump's own `ssh` gets the file of -F, and no other option.
        ssh_config=own.config_file or target.ssh_config,
        ssh_executable=target.ssh_executable,
    )
    answer = ask_ssh(jump, queries)
    options = _own_options(jump, answer, queries)
    if len(jumps) > 1:
        return replace(options, bastion=_bastion(jumps[:-1], jump, queries, depth - 1), proxy_command=None)
    following = _jump(answer)
    if following and following != name:
        return replace(options, bastion=_bastion(following.split(","), jump, queries, depth - 1), proxy_command=None)
    return options
