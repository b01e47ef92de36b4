"""Where a target really is: the inventory's word first, then ssh_config's, then SSH's defaults.

ssh_config is read by paramiko's parser, with what that leaves out: `Include`, and looking a host up under its
inventory name and its address alike (`Host cache-*` and `Host 10.0.*` both match `cache-1` at 10.0.0.1).
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
from fleettrace.transport.openssh.configuration import unreadable

__all__ = ["Configs", "Route", "route_of"]

_USER_CONFIG = Path("~/.ssh/config")
_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
# The order of ssh_config(5), without what needs hardware.
_DEFAULT_KEYS = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
_INCLUDE_DEPTH = 16  # READCONF_MAX_DEPTH of OpenSSH's readconf.h


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that a login needs to know, decided."""

    host: str
    port: int
    user: str
    host_key_name: str
    """The name in known_hosts: `host`, `[host]:port`, or ssh_config's HostKeyAlias."""
    known_hosts: tuple[Path, ...]
    key_file: Path | None
    """The inventory's: it must be usable."""
    identities: tuple[Path, ...]
    """ssh_config's, or the default ones: whichever of them exist are tried."""
    certificates: tuple[Path, ...]
    use_agent: bool
    hop: Route | None
    """The bastion next to the host; it may have one of its own."""
    proxy_command: str | None
    host_key: HostKeyPolicy = HostKeyPolicy.STRICT
    new_keys: Path | None = None
    """Where a host's new key is written down: the user's first known_hosts file, None where there is none."""
    hashed_names: bool = False
    """Write the host's name as a hash there (ssh_config's HashKnownHosts)."""
    password: str | None = field(default=None, repr=False, compare=False)

    @property
    def address(self) -> str:
        """For messages: `host:port`, without the default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 22 else f"{host}:{self.port}"


class Configs:
    """The ssh_config files of a run, each read once. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parsed: dict[Path | None, _AliasedConfig] = {}

    def lookup(self, names: tuple[str, ...], file: Path | None) -> SSHConfigDict:
        """What the files say about a host called `names[0]`, also known as the rest.

        Raises `ConfigError` for a file that cannot be read or parsed.
        """
        self.read(file)
        try:
            return self._parsed[file].lookup_any(names)
        except (ConfigParseError, CouldNotCanonicalize, KeyError, ValueError) as error:
            raise _faulty(error, file) from None

    def read(self, file: Path | None) -> None:
        """Read and parse the files, unless they are known. Raises `ConfigError`."""
        # paramiko asks for it in each lookup.
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
            raise unreadable(error) from None


def _faulty(error: Exception, file: Path | None) -> ConfigError:
    return ConfigError(f"ssh_config: {error}: correct it", file=file or _USER_CONFIG)


def _local_user() -> str:
    """Return the name of the user who runs this. Raises `ConfigError` where nothing says it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigError(
            f"who logs in is not known: uid {os.getuid()} has no passwd entry, and neither LOGNAME nor USER is set; "
            "set USER"
        ) from None


class _AliasedConfig(SSHConfig):
    """A `Host` block applies if it matches any of a host's names. Each thread has its own lookup under way."""

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


def _lines(path: Path, folder: Path, depth: int) -> Iterator[str]:
    """The lines of a file, the included files' in their place and the block they interrupt resumed after them."""
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise unreadable(error) from None
    block = "Host *"
    for line in text.splitlines():
        word, _, rest = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
        if word.lower() in ("host", "match"):
            block = line
        if word.lower() != "include":
            yield f"{line}\n"
            continue
        if depth == _INCLUDE_DEPTH:
            raise ConfigError("Include nested too deeply", file=path)
        for pattern in shlex.split(rest):
            for included in sorted(_glob(pattern, folder)):
                yield from _lines(included, folder, depth + 1)
                yield f"{block}\n"


def _glob(pattern: str, folder: Path) -> list[Path]:
    whole = folder / Path(pattern).expanduser()
    return [path for path in Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))) if path.is_file()]


def route_of(target: Target, configs: Configs) -> Route:
    """Decide how to reach `target`. Raises `ConfigError`."""
    # The address leads: it is what %h stands for, and what `ssh` would be given.
    names = tuple(dict.fromkeys(name for name in (target.address, target.name) if name))
    says = configs.lookup(names, target.ssh_config)
    host = target.address or says["hostname"]
    route = _own_route(target, says, host)
    jump = target.proxy_jump or says.get("proxyjump")
    if jump is not None and jump.lower() != "none":
        return replace(route, hop=_hop(jump.split(","), target, configs), proxy_command=None)
    return route


def _own_route(target: Target, says: SSHConfigDict, host: str) -> Route:
    try:
        port = target.port or int(says.get("port", 22))
    except ValueError:
        raise ConfigError(
            f"ssh_config: Port {says['port']!r} of {target.name} is no number", file=target.ssh_config
        ) from None
    explicit = says.get("identityfile")
    command = says.get("proxycommand")
    return Route(
        host=host,
        port=port,
        user=target.user or says.get("user") or _local_user(),
        host_key_name=says.get("hostkeyalias") or (host if port == 22 else f"[{host}]:{port}"),
        known_hosts=(*_users_known_hosts(target, says), *_systems_known_hosts(target, says)),
        key_file=None if target.key_file is None else target.key_file.expanduser(),
        identities=tuple(Path(name).expanduser() for name in explicit or _DEFAULT_KEYS),
        certificates=_certificates(says),
        use_agent=not (says.get("identitiesonly", "no").lower() == "yes" and explicit)
        and says.get("identityagent", "").lower() != "none",
        hop=None,
        proxy_command=command,
        host_key=target.host_key,
        new_keys=next(iter(_users_known_hosts(target, says)), None),
        hashed_names=says.get("hashknownhosts", "no").lower() == "yes",
        password=target.password,
    )


def _users_known_hosts(target: Target, says: SSHConfigDict) -> tuple[Path, ...]:
    if target.known_hosts is not None:
        return (target.known_hosts.expanduser(),)
    return _files(says.get("userknownhostsfile", " ".join(_KNOWN_HOSTS[:2])))


def _systems_known_hosts(target: Target, says: SSHConfigDict) -> tuple[Path, ...]:
    if target.known_hosts is not None:
        return ()
    return _files(says.get("globalknownhostsfile", " ".join(_KNOWN_HOSTS[2:])))


def _files(names: str) -> tuple[Path, ...]:
    return tuple(Path(name).expanduser() for name in names.split() if name.lower() != "none")


def _certificates(says: SSHConfigDict) -> tuple[Path, ...]:
    name = says.get("certificatefile")
    return () if name is None or name.lower() == "none" else (Path(name).expanduser(),)


def _hop(jumps: list[str], target: Target, configs: Configs) -> Route:
    """The last of `jumps`, reached through those before it, as `ssh -J` has it."""
    spec = jumps[-1].strip().removeprefix("ssh://")
    user, _, place = spec.rpartition("@")
    bracketed = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?|(.+)", place)
    if bracketed is None:
        raise ConfigError(f"ProxyJump {spec!r} of {target.name}: expected [user@]host[:port]", file=target.ssh_config)
    name = bracketed[1] or bracketed[3] or bracketed[5]
    port = bracketed[2] or bracketed[4]
    if name == target.name:
        raise ConfigError(
            f"ProxyJump of {target.name} leads to itself: exclude it from the `Host` pattern", file=target.ssh_config
        )
    bastion = Target(
        name=name,
        port=int(port) if port else None,
        user=user or None,
        known_hosts=target.known_hosts,
        host_key=target.host_key,
        ssh_config=target.ssh_config,
    )
    says = configs.lookup((name,), target.ssh_config)
    route = _own_route(bastion, says, says["hostname"])
    if len(jumps) > 1:
        return replace(route, hop=_hop(jumps[:-1], target, configs), proxy_command=None)
    further = says.get("proxyjump")
    if further is not None and further.lower() != "none" and name not in further:
        return replace(route, hop=_hop(further.split(","), bastion, configs), proxy_command=None)
    return route
