"""The types of values in a playbook. A type reads a value, reports its errors, and returns its JSON Schema.

A type reads a `Node` in which variables are expanded. It reports all errors and returns `INVALID` instead of the value;
the error of a node of the kind INVALID is reported already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fleettrace.errors import ConfigError
from fleettrace.playbook.problems import PlaybookError, Problems, meant
from fleettrace.yaml_reader.tree import Location, Node, NodeKind

__all__ = [
    "INVALID",
    "Either",
    "KeySpec",
    "ListOf",
    "MappingType",
    "OneOf",
    "Switch",
    "Text",
    "ValueType",
    "WordList",
    "optional_variable",
]

INVALID: Final = object()
"""Returned instead of the value of an invalid node."""

_SCALARS = (NodeKind.STRING, NodeKind.NUMBER, NodeKind.BOOLEAN)
_VARIABLE = {"type": "string", "pattern": "\\{\\{"}


class ValueType(Protocol):
    """The type of a value."""

    def read(self, node: Node, problems: Problems) -> Any:
        """Return the value of `node`; for an invalid one, add at least one problem and return `INVALID`."""
        ...

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema, which accepts a variable in place of any scalar."""
        ...


def optional_variable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that accepts what `schema` accepts, and a string with a variable."""
    return {"anyOf": [schema, dict(_VARIABLE)]}


def _mismatch(node: Node, expected: str, problems: Problems) -> Any:
    if node.kind is not NodeKind.INVALID:
        found = f"{node.text!r} is {node.kind}" if node.kind in _SCALARS else f"found {node.kind}"
        problems.add(node.location, f"{found}: expected {expected}")
    return INVALID


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, read from its text in the file. `read_text` raises `ValueError` or `ConfigError`."""

    expected: str
    read_text: Callable[[str], Any] = str
    json_types: tuple[str, ...] = ("string",)
    """The JSON types that a schema accepts; only `read_text` checks the text itself."""

    def read(self, node: Node, problems: Problems) -> Any:
        """See `ValueType`."""
        if node.kind not in _SCALARS:
            return _mismatch(node, self.expected, problems)
        try:
            return self.read_text(node.text)
        except ConfigError as error:
            message = error.message
        except ValueError as error:
            message = str(error)
        problems.add(node.location, _with_expectation(message, self.expected))
        return INVALID

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        return {"type": list(self.json_types) if len(self.json_types) > 1 else self.json_types[0]}


def _with_expectation(message: str, expected: str) -> str:
    return message if "expected " in message else f"{message}: expected {expected}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words."""

    names: tuple[str, ...]
    read_text: Callable[[str], Any] = str
    alone: str | None = None
    """The word that `true` stands for."""

    def read(self, node: Node, problems: Problems) -> Any:
        """See `ValueType`."""
        if self.alone is not None and node.kind is NodeKind.BOOLEAN:
            return self.read_text(self.alone) if _true(node) else None
        if node.kind not in _SCALARS:
            return _mismatch(node, _one_of(self.names), problems)
        if node.text not in self.names:
            problems.add(
                node.location,
                f"unknown value {node.text!r}: expected {_one_of(self.names)}{meant(node.text, self.names)}",
            )
            return INVALID
        return self.read_text(node.text)

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        words: dict[str, Any] = {"enum": [*self.names, *([] if self.alone is None else [True, False])]}
        return optional_variable(words)


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


@dataclass(frozen=True, slots=True)
class Switch:
    """A boolean."""

    def read(self, node: Node, problems: Problems) -> Any:
        """See `ValueType`."""
        return _true(node) if node.kind is NodeKind.BOOLEAN else _mismatch(node, "true or false", problems)

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        return optional_variable({"type": "boolean"})


def _true(node: Node) -> bool:
    return node.text.lower() in ("true", "yes", "on")


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; a single value counts as a list of one."""

    item: ValueType
    expected: str

    def read(self, node: Node, problems: Problems) -> Any:
        """See `ValueType`."""
        if node.kind is NodeKind.NULL:
            return _mismatch(node, self.expected, problems)
        items = node.items if node.kind is NodeKind.LIST else (node,)
        values = [self.item.read(item, problems) for item in items]
        return INVALID if any(value is INVALID for value in values) else values

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        one = self.item.schema()
        return {"anyOf": [one, {"type": "array", "items": one}, dict(_VARIABLE)]}


@dataclass(frozen=True, slots=True)
class WordList:
    """A comma-separated string, or a list of strings: `get,set` or `[get, set]`."""

    text_type: Text

    def read(self, node: Node, problems: Problems) -> Any:
        """See `ValueType`."""
        if node.kind is not NodeKind.LIST:
            return self.text_type.read(node, problems)
        for item in node.items:
            if item.kind not in _SCALARS:
                return _mismatch(item, self.text_type.expected, problems)
        return self.text_type.read(
            Node(NodeKind.STRING, node.location, ",".join(item.text for item in node.items)), problems
        )

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        one = self.text_type.schema()
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key of a mapping."""

    value_type: ValueType
    text: str
    """Its meaning in one line, for the JSON Schema and for messages."""
    required: bool = False


@dataclass(frozen=True, slots=True)
class MappingType:
    """A mapping with these keys. `read` returns a dict of the keys that are present."""

    what: str
    """The name of the mapping in messages, with its article."""
    keys: Mapping[str, KeySpec]
    elsewhere: Mapping[str, str] = ()  # type: ignore[assignment]
    """Keys that users expect here, and where they belong."""
    make: Callable[[dict[str, Any], Mapping[str, Location]], Any] | None = None
    """Makes the value from the keys' values and their locations; raises `ConfigError`."""

    def read(self, node: Node, problems: Problems) -> Any:
        """See `ValueType`."""
        if node.kind is not NodeKind.MAPPING:
            return _mismatch(node, f"{self.what}: a mapping with the keys {', '.join(self.keys)}", problems)
        values: dict[str, Any] = {}
        hints = ""
        for key, value in node.entries:
            known = self.keys.get(key.text)
            if known is None:
                problems.add(key.location, self._unknown(key.text))
                values[key.text] = INVALID
                hints += meant(key.text, self.keys)
            else:
                values[key.text] = known.value_type.read(value, problems)
        # A misspelt key is reported as unknown already, not as missing too.
        required = [name for name, key in self.keys.items() if key.required]
        missing = [name for name in required if name not in values and repr(name) not in hints]
        for name in missing:
            problems.add(node.location, f"{self.what} without `{name}`: expected at least {', '.join(required)}")
        if missing or any(value is INVALID for value in values.values()):
            return INVALID
        return self._made(values, node, problems)

    def _made(self, values: dict[str, Any], node: Node, problems: Problems) -> Any:
        if self.make is None:
            return values
        try:
            return self.make(values, {key.text: value.location for key, value in node.entries})
        except PlaybookError as error:
            for problem in error.problems:
                problems.add(problem.location, problem.message)
            return INVALID
        except ConfigError as error:
            problems.add(node.location, _with_expectation(error.message, self.what))
            return INVALID

    def _unknown(self, name: str) -> str:
        where = dict(self.elsewhere).get(name)
        if where is not None:
            return f"`{name}` does not belong here: expected {where}"
        near = meant(name, self.keys)
        known = "an option of `fleettrace run`" if len(self.keys) > 15 else f"one of {', '.join(self.keys)}"
        return f"unknown key {name!r} in {self.what}: expected {known}{near}"

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        properties = {name: {"description": key.text} | key.value_type.schema() for name, key in self.keys.items()}
        required = [name for name, key in self.keys.items() if key.required]
        made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
        return made | ({"required": required} if required else {})


@dataclass(frozen=True, slots=True)
class Either:
    """A scalar of one type, or a mapping of another."""

    scalar: ValueType
    mapping: ValueType

    def read(self, node: Node, problems: Problems) -> Any:
        """See `ValueType`."""
        return (self.mapping if node.kind is NodeKind.MAPPING else self.scalar).read(node, problems)

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        return {"anyOf": [self.scalar.schema(), self.mapping.schema()]}
