"""Decide how to log in to a target: by the inventory first, then by ssh_config, then by SSH's defaults.

paramiko's parser reads ssh_config. It lacks two things that are added here: `Include`, and the lookup of a host under
its inventory name and its address alike (`Host cache-*` and `Host 10.0.*` both match `cache-1` at 10.0.0.1).
"""

from __future__ import annotations

import getpass
import io
import os
import re
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from paramiko.config import SSHConfig, SSHConfigDict
from paramiko.ssh_exception import ConfigParseError, CouldNotCanonicalize

from fleettrace.errors import ConfigError
from fleettrace.transport.interface import HostKeyPolicy, Target
from fleettrace.transport.ssh_errors import unreadable_config

__all__ = ["LoginOptions", "SshConfigCache", "login_options"]

_USER_CONFIG = Path("~/.ssh/config")
_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
# The order of ssh_config(5), without the keys that need hardware.
_DEFAULT_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
_INCLUDE_DEPTH = 16  # READCONF_MAX_DEPTH of OpenSSH's readconf.h


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
    use_agent: bool
    bastion: LoginOptions | None
    """The bastion next to the host, which may have a bastion itself."""
    proxy_command: str | None
    host_key: HostKeyPolicy = HostKeyPolicy.STRICT
    new_keys: Path | None = None
    """The file for new host keys: the user's first known_hosts file, None where there is none."""
    hashed_names: bool = False
    """Write host names into that file as hashes (ssh_config's HashKnownHosts)."""
    password: str | None = field(default=None, repr=False, compare=False)

    @property
    def address(self) -> str:
        """`host:port` for messages, without the default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 22 else f"{host}:{self.port}"


class SshConfigCache:
    """The ssh_config files of a run, each read once. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parsed: dict[Path | None, _AliasedConfig] = {}

    def lookup(self, names: tuple[str, ...], file: Path | None) -> SSHConfigDict:
        """Return the settings for a host called `names[0]`, with the other names as aliases.

        Raises `ConfigError` for a file that cannot be read or parsed.
        """
        self.read(file)
        try:
            return self._parsed[file].lookup_any(names)
        except (ConfigParseError, CouldNotCanonicalize, KeyError, ValueError) as error:
            raise _faulty(error, file) from None

    def read(self, file: Path | None) -> None:
        """Read and parse `file`, None for the user's and the system's, unless that was done. Raises `ConfigError`."""
        # Checked here because paramiko asks for the name in each lookup.
        _local_user()
        try:
            with self._lock:
                if file not in self._parsed:
                    config = _AliasedConfig()
                    config.parse(io.StringIO(_text(file)))
                    self._parsed[file] = config
        except (ConfigParseError, KeyError, ValueError) as error:
            raise _faulty(error, file) from None
        except OSError as error:
            raise unreadable_config(error) from None


def _faulty(error: Exception, file: Path | None) -> ConfigError:
    return ConfigError(f"ssh_config: {error}: correct it", file=file or _USER_CONFIG)


def _local_user() -> str:
    """Return the name of the controller's user. Raises `ConfigError` where the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigError(
            f"the name of the user to log in as is unknown: uid {os.getuid()} has no passwd entry, and neither LOGNAME "
            "nor USER is set; set USER"
        ) from None


class _AliasedConfig(SSHConfig):
    """A `Host` block applies if it matches any of a host's names. Each thread has its own aliases."""

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    def lookup_any(self, names: tuple[str, ...]) -> SSHConfigDict:
        self._local.aliases = names[1:]
        return self.lookup(names[0])

    def _pattern_matches(self, patterns: str | list[str], target: str) -> bool:
        matches = super()._pattern_matches  # type: ignore[misc]  # the stubs leave it out
        return any(matches(patterns, name) for name in (target, *self._local.aliases))


def _text(file: Path | None) -> str:
    if file is not None:
        return "".join(_lines(file.expanduser(), file.expanduser().parent, 0))
    user, system = _USER_CONFIG.expanduser(), _SYSTEM_CONFIG
    parts = [_lines(path, path.parent, 0) for path in (user, system) if path.is_file()]
    return "Host *\n".join("".join(part) for part in parts)


def _lines(path: Path, directory: Path, depth: int) -> Iterator[str]:
    """Yield the lines of a file, with the included files in place of each `Include`.

    The block that an `Include` interrupts continues after it. `directory` is where relative names start.
    """
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise unreadable_config(error) from None
    block = "Host *"
    for line in text.splitlines():
        keyword, _, rest = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
        if keyword.lower() in ("host", "match"):
            block = line
        if keyword.lower() != "include":
            yield f"{line}\n"
            continue
        if depth == _INCLUDE_DEPTH:
            raise ConfigError("Include nested too deeply", file=path)
        for pattern in shlex.split(rest):
            for included in sorted(_glob(pattern, directory)):
                yield from _lines(included, directory, depth + 1)
                yield f"{block}\n"


def _glob(pattern: str, directory: Path) -> list[Path]:
    path = directory / Path(pattern).expanduser()
    return [found for found in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if found.is_file()]


def login_options(target: Target, configs: SshConfigCache) -> LoginOptions:
    """Return the options of the login to `target`. Raises `ConfigError`."""
    # The address is first: it is what %h stands for, and the name that `ssh` would be given.
    names = tuple(dict.fromkeys(name for name in (target.address, target.name) if name))
    config = configs.lookup(names, target.ssh_config)
    host = target.address or config["hostname"]
    options = _own_options(target, config, host)
    jump = target.proxy_jump or config.get("proxyjump")
    if jump is not None and jump.lower() != "none":
        return replace(options, bastion=_bastion(jump.split(","), target, configs), proxy_command=None)
    return options


def _own_options(target: Target, config: SSHConfigDict, host: str) -> LoginOptions:
    """Return the options without a bastion."""
    try:
        port = target.port or int(config.get("port", 22))
    except ValueError:
        raise ConfigError(
            f"ssh_config: Port {config['port']!r} of {target.name} is not a number", file=target.ssh_config
        ) from None
    explicit = config.get("identityfile")
    command = config.get("proxycommand")
    return LoginOptions(
        host=host,
        port=port,
        user=target.user or config.get("user") or _local_user(),
        host_key_name=config.get("hostkeyalias") or (host if port == 22 else f"[{host}]:{port}"),
        known_hosts=(*_users_known_hosts(target, config), *_systems_known_hosts(target, config)),
        key_file=None if target.key_file is None else target.key_file.expanduser(),
        identities=tuple(Path(name).expanduser() for name in explicit or _DEFAULT_KEYS),
        certificates=_certificates(config),
        use_agent=not (config.get("identitiesonly", "no").lower() == "yes" and explicit)
        and config.get("identityagent", "").lower() != "none",
        bastion=None,
        proxy_command=command,
        host_key=target.host_key,
        new_keys=next(iter(_users_known_hosts(target, config)), None),
        hashed_names=config.get("hashknownhosts", "no").lower() == "yes",
        password=target.password,
    )


def _users_known_hosts(target: Target, config: SSHConfigDict) -> tuple[Path, ...]:
    if target.known_hosts is not None:
        return (target.known_hosts.expanduser(),)
    return _files(config.get("userknownhostsfile", _USER_KNOWN_HOSTS))


def _systems_known_hosts(target: Target, config: SSHConfigDict) -> tuple[Path, ...]:
    if target.known_hosts is not None:
        return ()
    return _files(config.get("globalknownhostsfile", _SYSTEM_KNOWN_HOSTS))


def _files(names: str) -> tuple[Path, ...]:
    return tuple(Path(name).expanduser() for name in names.split() if name.lower() != "none")


def _certificates(config: SSHConfigDict) -> tuple[Path, ...]:
    name = config.get("certificatefile")
    return () if name is None or name.lower() == "none" else (Path(name).expanduser(),)


def _bastion(jumps: list[str], target: Target, configs: SshConfigCache) -> LoginOptions:
    """Return the options of the last of `jumps`, which is reached through the jumps before it, as with `ssh -J`."""
    spec = jumps[-1].strip().removeprefix("ssh://")
    user, _, address = spec.rpartition("@")
    bracketed = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?|(.+)", address)
    if bracketed is None:
        raise ConfigError(f"ProxyJump {spec!r} of {target.name}: expected [user@]host[:port]", file=target.ssh_config)
    name = bracketed[1] or bracketed[3] or bracketed[5]
    port = bracketed[2] or bracketed[4]
    if name == target.name:
        raise ConfigError(
            f"ProxyJump of {target.name} leads to itself: exclude it from the `Host` pattern", file=target.ssh_config
        )
    jump = Target(
        name=name,
        port=int(port) if port else None,
        user=user or None,
        known_hosts=target.known_hosts,
        host_key=target.host_key,
        ssh_config=target.ssh_config,
    )
    config = configs.lookup((name,), target.ssh_config)
    options = _own_options(jump, config, config["hostname"])
    if len(jumps) > 1:
        return replace(options, bastion=_bastion(jumps[:-1], target, configs), proxy_command=None)
    next_jump = config.get("proxyjump")
    if next_jump is not None and next_jump.lower() != "none" and name not in next_jump:
        return replace(options, bastion=_bastion(next_jump.split(","), jump, configs), proxy_command=None)
    return options
