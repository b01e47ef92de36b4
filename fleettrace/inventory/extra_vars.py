"""Variables of the command line (`-e`), which take precedence over every other variable of every host."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.model import Inventory, Layer, Origin
from fleettrace.yaml_reader.values import read_text

__all__ = ["parse_extra_vars", "with_extra_vars"]


def parse_extra_vars(words: Sequence[str]) -> tuple[Layer, ...]:
    """Return the variables of `-e`: `NAME=VALUE ...`, `@FILE` (YAML or JSON) or a mapping in braces, as in Ansible.

    Raises `ConfigError`.
    """
    return tuple(_parse(word) for word in words)


def with_extra_vars(inventory: Inventory, layers: tuple[Layer, ...]) -> Inventory:
    """Return the inventory with `layers` on top of each host's variables."""
    if not layers:
        return inventory
    given: dict[str, object] = {}
    for layer in layers:
        given.update(layer.values)
    hosts = {
        name: replace(host, variables=MappingProxyType({**host.variables, **given}), layers=(*host.layers, *layers))
        for name, host in inventory.hosts.items()
    }
    return replace(inventory, hosts=MappingProxyType(hosts), layers=(*inventory.layers, *layers), _members={})


def _parse(word: str) -> Layer:
    if word.startswith("@"):
        path = Path(word[1:]).expanduser()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigError(f"-e {word}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"-e {word}: is not UTF-8") from None
        return Layer(_mapping(read_text(text, str(path)), f"-e {word}"), Origin(str(path)))
    origin = Origin("-e", has_lines=False)
    if word.lstrip()[:1] in ("{", "["):
        return Layer(_mapping(read_text(word, "-e"), f"-e {word!r}"), origin)
    values: dict[str, object] = {}
    try:
        pairs = shlex.split(word)
    except ValueError as error:
        raise ConfigError(f"-e {word!r}: {error}: expected NAME=VALUE, @FILE, or a mapping in braces") from None
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"-e {word!r}: expected NAME=VALUE, @FILE, or a mapping in braces")
        values[name] = value
    return Layer(values, origin)


def _mapping(data: Any, where: str) -> dict[str, object]:
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise ConfigError(f'{where}: expected a mapping of names to values, such as {{"ansible_user": "ops"}}')
    return data
