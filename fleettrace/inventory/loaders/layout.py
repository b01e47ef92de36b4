"""Read Ansible's YAML layout: groups with `hosts:`, `children:` and `vars:`."""

from __future__ import annotations

from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.model import Layer, Origin
from fleettrace.inventory.ranges import expand_host
from fleettrace.inventory.tree import Tree

__all__ = ["add_layout"]


def add_layout(tree: Tree, data: Any, origin: Origin) -> None:
    """Add the groups in `data`, which was read from `origin`. Raises `ConfigError` with the line of the fault."""
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected groups (all: hosts: ...), found {_kind(data)}", file=origin.file, line=origin.line()
        )
    if data.get("plugin"):
        raise origin.at("plugin").error(
            f"this configures Ansible's inventory plugin {data['plugin']!r}: "
            f"run `ansible-inventory -i {origin.file} --list | fleettrace run -i -`"
        )
    for name, content in data.items():
        if content is None or isinstance(content, dict):
            key_origin = origin.at(name)
            _fill_group(tree, tree.add_group(name, key_origin), content, key_origin)
        else:
            _warn(tree, origin.at(name), f"{name!r} is {_kind(content)}, not a group: ignored")


def _fill_group(tree: Tree, group: str, content: dict[Any, Any] | None, origin: Origin) -> None:
    for key, section in (content or {}).items():
        key_origin = origin.at(key)
        if key not in _SECTIONS:
            _warn(tree, key_origin, f"{key!r} in the group {group!r} is not one of hosts, children, vars: ignored")
            continue
        if isinstance(section, str):
            section = {section: None}
        if section is not None and not isinstance(section, dict):
            raise key_origin.error(
                f"{key!r} of the group {group!r} must be a mapping, not {_kind(section)}: end each name with a colon"
            )
        if section:
            _SECTIONS[key](tree, group, section, key_origin)


def _add_hosts(tree: Tree, group: str, section: dict[Any, Any], origin: Origin) -> None:
    for key, values in section.items():
        key_origin = origin.at(key)
        if values and not isinstance(values, dict):
            raise key_origin.error(f"the variables of the host {key!r} must be a mapping, not {_kind(values)}")
        names, port = _expand(key, key_origin)
        layer = Layer(values or {}, key_origin)
        for name in names:
            tree.add_host_layer(tree.add_host(name, group, key_origin, port), layer)


def _expand(key: object, origin: Origin) -> tuple[list[object], int | None]:
    if not isinstance(key, str) or not ("[" in key or ":" in key):
        return [key], None
    try:
        names, port = expand_host(key)
    except ConfigError as error:
        raise origin.error(error.message) from None
    return [*names], port


def _add_children(tree: Tree, group: str, section: dict[Any, Any], origin: Origin) -> None:
    for name, content in section.items():
        key_origin = origin.at(name)
        if content is not None and not isinstance(content, dict):
            raise key_origin.error(f"the group {name!r} must be a mapping, not {_kind(content)}")
        child = tree.add_group(name, key_origin)
        tree.add_child(group, child, key_origin)
        _fill_group(tree, child, content, key_origin)


def _add_vars(tree: Tree, group: str, section: dict[Any, Any], origin: Origin) -> None:
    tree.add_group_layer(group, Layer(section, origin))


_SECTIONS = {"hosts": _add_hosts, "children": _add_children, "vars": _add_vars}


def _warn(tree: Tree, origin: Origin, message: str) -> None:
    tree.warnings.append(str(origin.error(message)))


def _kind(value: object) -> str:
    """Return the YAML term for `value`."""
    if isinstance(value, list):
        return "a list"
    return f"the plain value {value!r}" if not isinstance(value, dict) else "a mapping"
