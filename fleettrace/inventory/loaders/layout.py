"""Read Ansible's YAML layout: groups with `hosts:`, `children:` and `vars:`.

Expand host ranges: `cache-[001:512]` names 512 hosts.

The grammar is Ansible's (`[1:9]`, `[001:512]`, `[a:f]`, a step as in `[0:10:2]`, several in one name), and also
`[001-512]`. A range that names no host (`[9:1]`), which Ansible accepts, is an error here.
"""

from __future__ import annotations

import re
import string
from itertools import product
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.addresses import split_address
from fleettrace.inventory.loaders.words import clipped, excerpt
from fleettrace.inventory.model import Layer, Origin
from fleettrace.inventory.tree import Tree

__all__ = ["PluginError", "add_layout", "expand_host", "expand_range", "kind"]


_MAX_HOSTS = 1_000_000

"""The most hosts of one entry. More are a typing error, and would fill the memory."""


_DASHED = re.compile(r"\[([0-9]+)-([0-9]+)((?::[0-9]+)?)\]")

_LETTERS = string.ascii_letters


def expand_host(text: str) -> tuple[list[str], int | None]:
    """Return the host names that a key of a `hosts:` mapping stands for, in order, and the port after it.

    Raises `ConfigError`, without file and line, if a range is malformed.
    """
    text = _DASHED.sub(r"[\1:\2\3]", text)
    name, port = split_address(text) or (text, None)
    return (expand_range(name) if "[" in name else [name]), port


def expand_range(text: str) -> list[str]:
    """Return all names that `text` stands for. The last range varies fastest. Raises `ConfigError`."""
    pieces: list[list[str]] = []
    begin, count = 0, 1
    while (opening := text.find("[", begin)) >= 0:
        closing = text.find("]", opening)
        if closing < 0:
            raise ConfigError(f"{excerpt(text)}: a '[' without its ']': expected a range such as [001:512]")
        pieces += [[text[begin:opening]], _values(text[opening + 1 : closing], text)]
        begin = closing + 1
        count *= len(pieces[-1])
        if count > _MAX_HOSTS:
            raise ConfigError(f"{excerpt(text)} names more than {_MAX_HOSTS:,} hosts: check the range")
    return ["".join(parts) for parts in product(*pieces, [text[begin:]])]


def _values(inside: str, text: str) -> list[str]:
    bounds = inside.split(":")
    if len(bounds) not in (2, 3):
        raise ConfigError(
            f"{excerpt(text)}: [{clipped(inside)}] is not a range: expected [begin:end] or [begin:end:step]"
        )
    begin, end = bounds[0] or "0", bounds[1]
    step = bounds[2] if len(bounds) == 3 else "1"
    if not _is_number(step) or int(step) == 0:
        raise ConfigError(f"{excerpt(text)}: the step of [{clipped(inside)}] must be a whole number from 1 up")
    if len(begin) == len(end) == 1 and begin in _LETTERS and end in _LETTERS:
        first, last = _LETTERS.index(begin), _LETTERS.index(end)
        _check_order(first, last, inside, text)
        return list(_LETTERS[first : last + 1 : int(step)])
    if not (_is_number(begin) and _is_number(end)):
        raise ConfigError(f"{excerpt(text)}: [{clipped(inside)}] must run between two numbers or two single letters")
    width = len(begin) if begin[0] == "0" and len(begin) > 1 else 0
    if width and width != len(end):
        raise ConfigError(
            f"{excerpt(text)}: both ends of [{clipped(inside)}] must have {width} digits: the first has leading zeros"
        )
    _check_order(int(begin), int(end), inside, text)
    numbers = range(int(begin), int(end) + 1, int(step))
    if len(numbers) > _MAX_HOSTS:
        raise ConfigError(f"{excerpt(text)} names more than {_MAX_HOSTS:,} hosts: check the range")
    return [str(number).zfill(width) for number in numbers]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _check_order(first: int, last: int, inside: str, text: str) -> None:
    if first > last:
        raise ConfigError(f"{excerpt(text)}: the range [{clipped(inside)}] ends before it begins: swap the two")


class PluginError(Exception):
    """A file is not an inventory but the configuration of one of Ansible's inventory plugins."""

    def __init__(self, plugin: str, origin: Origin) -> None:
        super().__init__(plugin)
        self.plugin = plugin
        self.origin = origin


def add_layout(tree: Tree, data: Any, origin: Origin) -> None:
    """Add the groups in `data`, which was read from `origin`.

    Raises `ConfigError` with the line of the fault, and `PluginError`.
    """
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected groups (all: hosts: ...), found {kind(data)}", file=origin.file, line=origin.line()
        )
    if data.get("plugin"):
        raise PluginError(str(data["plugin"]), origin.at("plugin"))
    for name, content in data.items():
        if content is None or isinstance(content, dict):
            key_origin = origin.at(name)
            _fill_group(tree, tree.add_group(name, key_origin), content, key_origin)
        else:
            _warn(tree, origin.at(name), f"{name!r} is {kind(content)}, not a group: ignored")


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
                f"{key!r} of the group {group!r} must be a mapping, not {kind(section)}: end each name with a colon"
            )
        if section:
            _SECTIONS[key](tree, group, section, key_origin)


def _add_hosts(tree: Tree, group: str, section: dict[Any, Any], origin: Origin) -> None:
    for key, values in section.items():
        key_origin = origin.at(key)
        if values and not isinstance(values, dict):
            raise key_origin.error(f"the variables of the host {key!r} must be a mapping, not {kind(values)}")
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
            raise key_origin.error(f"the group {name!r} must be a mapping, not {kind(content)}")
        child = tree.add_group(name, key_origin)
        tree.add_child(group, child, key_origin)
        _fill_group(tree, child, content, key_origin)


def _add_vars(tree: Tree, group: str, section: dict[Any, Any], origin: Origin) -> None:
    tree.add_group_layer(group, Layer(section, origin))


_SECTIONS = {"hosts": _add_hosts, "children": _add_children, "vars": _add_vars}


def _warn(tree: Tree, origin: Origin, message: str) -> None:
    tree.warnings.append(str(origin.error(message)))


def kind(value: object) -> str:
    """Return the YAML term for `value`."""
    if isinstance(value, list):
        return "a list"
    return f"the plain value {value!r}" if not isinstance(value, dict) else "a mapping"
