"""`-e`: variables given on the command line, which win over those of the playbook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.playbook.variables import NAME
from fleettrace.yaml_reader.tree import MAX_BYTES, Location, Node, NodeKind, read_tree, text_node

__all__ = ["Given", "extra_variables"]

_TRUTHS = ("true", "false", "yes", "no", "on", "off")


@dataclass(slots=True)
class Given:
    """What `-e` gave."""

    nodes: dict[str, Node] = field(default_factory=dict)
    by_name: list[str] = field(default_factory=list)
    """Those that were named one by one: a file may serve several playbooks, and have what one of them does not use."""


def extra_variables(words: Sequence[str]) -> Given:
    """The variables of `name=value`, `@FILE` and `{...}`, the last of a name wins. Raises `ConfigError`."""
    given = Given()
    for word in words:
        if word.startswith("@"):
            given.nodes |= _mapping(_read(Path(word[1:])), word[1:])
        elif word.lstrip().startswith("{"):
            given.nodes |= _mapping(word, "-e")
        else:
            name, equals, value = word.partition("=")
            if not equals or not NAME.fullmatch(name):
                raise ConfigError(f"-e {word!r}: expected NAME=VALUE, @FILE, or a mapping in braces")
            given.nodes[name] = _value(value, name)
            given.by_name.append(name)
    return given


def _value(text: str, name: str) -> Node:
    """A text as it is; `true` and its like can turn a switch."""
    node = replace(text_node(text, Location(f"-e {name}", 1, 1)), is_literal=True)
    return replace(node, kind=NodeKind.BOOLEAN) if text.lower() in _TRUTHS else node


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"-e @{path}: cannot read it: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"-e @{path}: expected UTF-8") from None


def _mapping(text: str, file: str) -> dict[str, Node]:
    tree = read_tree(text, file)
    if tree.kind is not NodeKind.MAPPING:
        raise ConfigError(f"here is {tree.kind}; expected a mapping of names to values", file=file, line=1)
    for key, _ in tree.entries:
        if not NAME.fullmatch(key.text):
            raise ConfigError(f"{key.text!r} is no variable's name", file=file, line=key.location.line)
    return {key.text: value for key, value in tree.entries}
