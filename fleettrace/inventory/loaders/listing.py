"""Read what `ansible-inventory --list` and inventory scripts print: JSON with hosts by group, and `_meta`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleettrace.inventory.model import Layer, Origin
from fleettrace.inventory.tree import Tree

__all__ = ["add_listing", "is_listing"]

_PARTS = ("hosts", "children", "vars")


def is_listing(data: object) -> bool:
    """Return whether `data` has this form and not the YAML layout."""
    return isinstance(data, dict) and isinstance(data.get("_meta"), dict)


def add_listing(
    tree: Tree,
    data: Any,
    origin: Origin,
    ask_host: Callable[[str], Any] | None = None,
    *,
    sorted_groups: bool = False,
) -> None:
    """Add the groups and hosts of `data`. `ask_host` returns a host's variables, for data without `_meta`.

    `sorted_groups`: `ansible-inventory` printed the groups, sorted by name; their own order is that of the children.
    Raises `ConfigError`, which names the faulty key.
    """
    if not isinstance(data, dict):
        raise origin.error("expected the JSON object that `ansible-inventory --list` prints")
    meta = data.get("_meta")
    hostvars = meta.get("hostvars") if isinstance(meta, dict) else None
    if hostvars is not None and not isinstance(hostvars, dict):
        raise origin.at("_meta", "hostvars").error("'_meta.hostvars' must be an object")
    hosts: dict[str, None] = {}
    for name in _walked(data) if sorted_groups else data:
        if name != "_meta":
            _add_group(tree, name, data[name], origin.at(name), hosts)
    for host in hosts:
        values = hostvars.get(host, {}) if hostvars is not None else ask_host(host) if ask_host else {}
        host_origin = origin.at("_meta", "hostvars", host)
        if not isinstance(values, dict):
            raise host_origin.error(f"the variables of the host {host!r} must be an object")
        tree.add_host_layer(host, Layer(values, host_origin))


def _walked(data: dict[str, Any]) -> list[str]:
    """Return the groups level by level from `all` on, then those that are not below it."""
    order, level = {"all": None} if "all" in data else {}, ["all"]
    while level:
        contents = [data[name] for name in level if isinstance(data.get(name), dict)]
        children = [each for content in contents for each in content.get("children") or () if isinstance(each, str)]
        level = [name for name in dict.fromkeys(children) if name in data and name not in order]
        order.update(dict.fromkeys(level))
    return [*order, *(name for name in data if name not in order)]


def _add_group(tree: Tree, name: str, content: Any, origin: Origin, seen: dict[str, None]) -> None:
    group = tree.add_group(name, origin)
    if isinstance(content, list):
        content = {"hosts": content}
    if not isinstance(content, dict) or (content and not any(part in content for part in _PARTS)):
        raise origin.error(f"the group {name!r} must be an object with 'hosts', 'children' or 'vars'")
    for host in _names(content, "hosts", group, origin):
        tree.add_host(host, group, origin.at("hosts"))
        seen[host] = None
    values = content.get("vars") or {}
    if not isinstance(values, dict):
        raise origin.at("vars").error(f"'vars' of the group {name!r} must be an object")
    tree.add_group_layer(group, Layer(values, origin.at("vars")))
    for child in _names(content, "children", group, origin):
        tree.add_group(child, origin.at("children"))
        tree.add_child(group, child, origin.at("children"))


def _names(content: dict[str, Any], part: str, group: str, origin: Origin) -> list[str]:
    names = content.get(part) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise origin.at(part).error(f"{part!r} of the group {group!r} must be a list of names")
    return names
