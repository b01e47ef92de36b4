"""The value of a host's variable: templates evaluated and secrets decrypted, when a user needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Resolver:
    """Resolves the variables of an inventory's hosts."""

    inventory: Inventory
    secrets: VaultSecrets = field(default_factory=VaultSecrets)
    _in_progress: list[tuple[str, str]] = field(default_factory=list)

    def value(self, host: Host, name: str) -> object:
        """Return the value of a variable of `host`, None where it is unset or omitted.

        Raises `ConfigError`, which names the host, the variable and its place.
        """
        if name not in host.variables:
            return None
        from fleettrace.inventory.templates import OMIT

        value = self._resolved(host, name, host.variables[name])
        return None if value is OMIT else value

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
            return evaluate(text, _Names(self, host).find, self._directories())
        except TemplateError as error:
            raise ConfigError(f"{self._where(host, name)}: the template cannot be evaluated: {error}") from None
        finally:
            self._in_progress.pop()

    def _where(self, host: Host, name: str) -> str:
        origin = host.origin(name)
        line = None if origin is None else origin.line()
        place = "" if origin is None else f"{origin.file}:{line}: " if line else f"{origin.file}: "
        return f"{place}{name} of {host.name}"

    def _directories(self) -> list[Path]:
        return [Path.cwd(), *self._inventory_directories()]

    def _inventory_directories(self) -> Iterator[Path]:
        for source in self.inventory.sources:
            path = Path(source)
            if path.exists():
                yield path.absolute() if path.is_dir() else path.absolute().parent


class _Names:
    """What a template of one host can name."""

    def __init__(self, resolver: Resolver, host: Host) -> None:
        self._resolver = resolver
        self._host = host

    def find(self, name: str) -> Any:
        """Return the value of a name. Raises KeyError."""
        host, inventory = self._host, self._resolver.inventory
        if name in host.variables:
            return self._resolver._resolved(host, name, host.variables[name])
        if name == "inventory_hostname":
            return host.name
        if name == "inventory_hostname_short":
            return host.name.partition(".")[0]
        if name == "group_names":
            return list(host.groups)
        if name == "groups":
            return {group: [each.name for each in inventory.hosts_in(group)] for group in inventory.groups}
        if name in ("hostvars", "vars"):
            own = _HostVariables(self._resolver, host)
            return own if name == "vars" else _AllHosts(self._resolver)
        if name == "playbook_dir":
            return str(Path.cwd())
        if name in ("inventory_dir", "inventory_file"):
            return self._place(name)
        raise KeyError(name)

    def _place(self, name: str) -> str:
        for directory in self._resolver._inventory_directories():
            if name == "inventory_dir":
                return str(directory)
        for source in self._resolver.inventory.sources:
            if name == "inventory_file" and Path(source).exists():
                return str(Path(source).absolute())
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
