"""The value of a host's variable: templates evaluated and secrets decrypted, when a user needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.model import Host, Inventory
from fleettrace.inventory.vault import VaultSecrets
from fleettrace.yaml_reader.values import Unsafe, Vaulted

__all__ = ["Resolver", "is_template"]


def is_template(value: object) -> bool:
    """Return whether a value is a template that Ansible evaluates."""
    return isinstance(value, str) and not isinstance(value, Unsafe) and ("{{" in value or "{%" in value)


class _Omit:
    """The value of `omit`: the variable counts as unset."""


_OMIT = _Omit()


class Resolver:
    """Resolves the variables of an inventory's hosts. One thread at a time may use it."""

    def __init__(self, inventory: Inventory, secrets: VaultSecrets | None = None) -> None:
        self.inventory = inventory
        self.secrets = secrets or VaultSecrets()
        self._in_progress: list[tuple[str, str]] = []

    @cached_property
    def groups(self) -> Mapping[str, list[str]]:
        """The names of each group's hosts."""
        return {name: [each.name for each in self.inventory.hosts_in(name)] for name in self.inventory.groups}

    @cached_property
    def sources(self) -> list[Path]:
        """The sources that are files or directories, as absolute paths."""
        return [Path(source).absolute() for source in self.inventory.sources if Path(source).exists()]

    @cached_property
    def directories(self) -> list[Path]:
        """The directories of the sources."""
        return [path if path.is_dir() else path.parent for path in self.sources]

    def value(self, host: Host, name: str) -> object:
        """Return the value of a variable of `host`, None where it is unset or omitted.

        Raises `ConfigError`, which names the host, the variable and its place.
        """
        if name not in host.variables:
            return None
        value = self._resolved(host, name, host.variables[name])
        return None if value is _OMIT else value

    def _resolved(self, host: Host, name: str, value: object) -> Any:
        if isinstance(value, Vaulted):
            return Unsafe(self.secrets.decrypt(value.text, self._where(host, name)))
        if isinstance(value, dict):
            return {key: self._resolved(host, name, each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._resolved(host, name, each) for each in value]
        return self._evaluated(host, name, str(value)) if is_template(value) else value

    def _evaluated(self, host: Host, name: str, text: str) -> Any:
        from fleettrace.inventory.templates import TemplateError, evaluate

        step = (host.name, name)
        if step in self._in_progress:
            loop = " > ".join(each for _, each in [*self._in_progress, step])
            raise ConfigError(f"{self._where(host, name)}: the template refers to itself ({loop})")
        self._in_progress.append(step)
        try:
            return evaluate(text, _Names(self, host).find, [Path.cwd(), *self.directories])
        except TemplateError as error:
            raise ConfigError(f"{self._where(host, name)}: the template cannot be evaluated: {error}") from None
        finally:
            self._in_progress.pop()

    def _where(self, host: Host, name: str) -> str:
        origin = host.origin(name)
        line = None if origin is None else origin.line()
        place = "" if origin is None else f"{origin.file}:{line}: " if line else f"{origin.file}: "
        return f"{place}{name} of {host.name}"


class _Names:
    """What a template of one host can name."""

    def __init__(self, resolver: Resolver, host: Host) -> None:
        self._resolver = resolver
        self._host = host

    def find(self, name: str) -> Any:
        """Return the value of a name. Raises KeyError."""
        host, resolver = self._host, self._resolver
        if name in host.variables:
            return resolver._resolved(host, name, host.variables[name])
        if name == "omit":
            return _OMIT
        if name == "inventory_hostname":
            return host.name
        if name == "inventory_hostname_short":
            return host.name.partition(".")[0]
        if name == "group_names":
            return list(host.groups)
        if name == "groups":
            return resolver.groups
        if name == "hostvars":
            return _AllHosts(resolver)
        if name == "vars":
            return _HostVariables(resolver, host)
        if name == "playbook_dir":
            return str(Path.cwd())
        if name == "inventory_dir" and resolver.directories:
            return str(resolver.directories[0])
        if name == "inventory_file" and resolver.sources:
            return str(resolver.sources[0])
        raise KeyError(name)


class _HostVariables(Mapping[str, Any]):
    """The variables of one host, each resolved when it is read."""

    def __init__(self, resolver: Resolver, host: Host) -> None:
        self._names = _Names(resolver, host)
        self._variables = host.variables

    def __getitem__(self, name: str) -> Any:
        return self._names.find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


class _AllHosts(Mapping[str, _HostVariables]):
    """`hostvars`: the variables of every host by its name."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def __getitem__(self, name: str) -> _HostVariables:
        return _HostVariables(self._resolver, self._resolver.inventory.hosts[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._resolver.inventory.hosts)

    def __len__(self) -> int:
        return len(self._resolver.inventory.hosts)
