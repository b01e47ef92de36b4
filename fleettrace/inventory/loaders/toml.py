"""Read Ansible's TOML layout: a table for each group, with `hosts`, `children` and `vars`."""

from __future__ import annotations

import tomllib
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.layout import expand_host
from fleettrace.inventory.model import Layer, Origin
from fleettrace.inventory.tree import Tree

__all__ = ["add_toml"]


def add_toml(tree: Tree, text: str, file: str) -> None:
    """Add the groups and hosts of `text`, which was read from `file`. Raises `ConfigError`."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"bad TOML: {error}", file=file) from None
    if not data:
        raise ConfigError("is empty: expected a table for each group, such as [web.hosts.web1]", file=file)
    if data.get("plugin"):
        raise ConfigError("configures an inventory plugin, which Ansible reads from YAML alone", file=file)
    for name, content in data.items():
        if isinstance(content, dict):
            _add_group(tree, name, content, Origin(file, (name,), has_lines=False))
        else:
            tree.warnings.append(f"{file}: {name!r} is not a table for a group: ignored")


def _add_group(tree: Tree, name: str, content: dict[str, Any], origin: Origin) -> None:
    group = tree.add_group(name, origin)
    for key, section in content.items():
        if key not in _SECTIONS:
            tree.warnings.append(f"{origin.file}: {key!r} in the group {name!r} is not one of {', '.join(_SECTIONS)}")
            continue
        if key == "children" and isinstance(section, list):
            for child in section:
                tree.add_child(group, tree.add_group(child, origin), origin)
        elif key == "vars" and isinstance(section, dict):
            tree.add_group_layer(group, Layer(section, origin))
        elif key == "hosts" and isinstance(section, dict):
            _add_hosts(tree, group, section, origin)
        else:
            expected = "a list of names" if key == "children" else "a table"
            raise origin.error(f"{key!r} of the group {name!r} must be {expected}")


def _add_hosts(tree: Tree, group: str, section: dict[str, Any], origin: Origin) -> None:
    for key, values in section.items():
        if not isinstance(values, dict):
            raise origin.error(f"the variables of the host {key!r} must be a table")
        try:
            names, port = expand_host(key)
        except ConfigError as error:
            raise origin.error(error.message) from None
        for name in names:
            tree.add_host_layer(tree.add_host(name, group, origin, port), Layer(values, origin))


_SECTIONS = ("vars", "children", "hosts")
