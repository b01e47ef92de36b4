"""The keys of a playbook: one table that checks files and makes their JSON Schema.

The options of a sweep are those of the command line, which this package does not know: its caller passes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fleettrace.inventory.pattern import split_pattern
from fleettrace.playbook.findings import Severity
from fleettrace.playbook.model import PlayOutput
from fleettrace.playbook.problems import Problems
from fleettrace.playbook.rules.language import RuleError, compile_rule
from fleettrace.playbook.schema_notify import notify_type
from fleettrace.playbook.schema_types import (
    INVALID,
    Either,
    KeySpec,
    ListOf,
    MappingType,
    OneOf,
    Text,
    ValueType,
    WordList,
)
from fleettrace.playbook.variables import NAME
from fleettrace.report.formats import Output
from fleettrace.store.history.retention import parse_retention
from fleettrace.yaml_reader.tree import Location, Node, NodeKind

__all__ = ["Layout", "layout", "schema"]

SCHEMA_ID = "urn:fleettrace:schema:playbook:1"

_ELSEWHERE = {
    "hosts": "it in the play, beside `sweep`",
    "keep": "it in the play, beside `sweep`",
    "output": "`outputs: [{format: ..., file: ...}]` in the play",
    "out": "`outputs: [{format: ..., file: ...}]` in the play",
    "html": "`outputs: [{format: html, file: ...}]` in the play",
    "resume": "`fleettrace run --resume RUN`: a playbook always starts new runs",
}
"""Options of `run` that a play has in another place, or not at all."""

_EXPRESSION = "an expression such as key.share > 5%"
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Layout:
    """The two types of entries in a playbook."""

    play: MappingType
    include: MappingType


def layout(sweep: Mapping[str, KeySpec]) -> Layout:
    """Return the layout of playbooks with these options of a sweep, by their long names."""
    options = {name: key for name, key in sweep.items() if name not in _ELSEWHERE}
    variables = KeySpec(_Variables(), "Variables; those of an include and -e take precedence.")
    tags = KeySpec(WordList(Text("comma-separated tags", _tags)), "Tags for --tags and --skip-tags.")
    play = MappingType(
        "a play",
        {
            "name": KeySpec(Text("a name on one line", _name), "A name, unique in the playbook.", required=True),
            "hosts": KeySpec(
                Text("a host pattern such as 'cache:!canary'", _pattern), "The hosts: a host pattern.", required=True
            ),
            "vars": variables,
            "sweep": KeySpec(
                MappingType("a sweep", options, _ELSEWHERE), "Options of `fleettrace run` by their long names."
            ),
            "rules": KeySpec(_rules(), "Rules that judge the run."),
            "outputs": KeySpec(ListOf(_output(), "a list of outputs"), "Formats and files of the report."),
            "notify": KeySpec(notify_type(), "Targets that receive the findings."),
            "keep": KeySpec(
                WordList(Text("limits such as 90d,3000,1G", _keep)),
                "History retention: maximum age, number of runs, size, or `all`.",
            ),
            "tags": tags,
        },
        {"include": "`- include: FILE` as a separate entry"},
    )
    file = Text("a playbook, relative to the directory of this file")
    include = KeySpec(file, "A playbook, relative to the directory of this file.", required=True)
    return Layout(play, MappingType("an include", {"include": include, "vars": variables, "tags": tags}))


def schema(known: Layout) -> dict[str, Any]:
    """Return the layout as JSON Schema, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "fleettrace playbook, version 1",
        "description": "What `fleettrace play FILE` reads. `--syntax-check` checks more than this schema can.",
        "type": "array",
        "minItems": 1,
        "items": {
            "if": {"required": ["include"]},
            "then": known.include.schema(),
            "else": known.play.schema(),
        },
    }


def _rules() -> ValueType:
    """Return the type of a list of rules, compiled."""
    keys = MappingType(
        "a rule",
        {
            "when": KeySpec(Text(_EXPRESSION), "The expression, such as key.share > 5%.", required=True),
            "severity": KeySpec(
                OneOf(tuple(each.value for each in Severity), Severity),
                "The severity of its findings. Default: medium.",
            ),
            "message": KeySpec(
                Text("a string with fields in braces"), "The message of its findings, with fields in braces."
            ),
            "name": KeySpec(Text("a name"), "The name of the rule in findings. Default: the expression."),
        },
    )
    return ListOf(Either(_RuleType(Text(_EXPRESSION)), _RuleType(keys)), "a list of rules")


@dataclass(frozen=True, slots=True)
class _RuleType:
    """A rule; `inner` reads its text or its mapping."""

    inner: ValueType

    def read(self, node: Node, problems: Problems) -> Any:
        """Return a compiled rule."""
        values = self.inner.read(node, problems)
        if values is INVALID:
            return INVALID
        part_of: Callable[[str], Node | None] = node.get
        if isinstance(values, str):
            values, part_of = {"when": values}, lambda part: node if part == "when" else None
        try:
            return compile_rule(**values)
        except RuleError as error:
            part = part_of(error.part) or node
            location, where = _text_column(part, error.column)
            problems.add(location, error.message + where)
            return INVALID

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        return self.inner.schema()


def _text_column(node: Node, column: int) -> tuple[Location, str]:
    """Return the location of a column (1-based) of a string; the second value describes it where no location can."""
    text_location = node.text_location
    if text_location is None:
        return node.location, f" (in column {column} of {node.text!r})"
    return Location(text_location.file, text_location.line, text_location.column + column - 1), ""


def _output() -> ValueType:
    return MappingType(
        "an output",
        {
            "format": KeySpec(OneOf(tuple(each.value for each in Output)), "The format of the report.", required=True),
            "file": KeySpec(Text("a file"), "The file, replaced atomically; stdout without it."),
        },
        make=_made_output,
    )


def _made_output(values: dict[str, Any], locations: Mapping[str, Location]) -> PlayOutput:
    return PlayOutput(values["format"], values.get("file"), locations["format"])


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 100:
        raise ValueError(f"{text!r} is not a name: expected up to 100 characters on one line")
    return text.strip()


def _keep(text: str) -> str:
    parse_retention(text)
    return text


def _tags(text: str) -> frozenset[str]:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not _TAG.fullmatch(word):
            raise ValueError(f"{word!r} is not a tag: expected letters, digits, _, . and -")
    return frozenset(words)


def _pattern(text: str) -> str:
    """Check a host pattern without an inventory; return it."""
    parts = split_pattern(text)
    if not parts:
        raise ValueError("the host pattern is empty: expected 'all' for every host")
    for part in parts:
        word = part[1:] if part[0] in "&!" else part
        if not word:
            raise ValueError(f"the host pattern has {part!r} without a name: expected a host or group after it")
        if word[0] == "~":
            try:
                re.compile(word[1:])
            except re.error as error:
                expected = "expected the syntax of Python's re"
                raise ValueError(
                    f"invalid regular expression {word!r} in the host pattern: {error}; {expected}"
                ) from None
    return text


@dataclass(frozen=True, slots=True)
class _Variables:
    """A mapping of variables: scalars, or lists of them."""

    def read(self, node: Node, problems: Problems) -> Any:
        """Return the values unexpanded: they are expanded where they are used."""
        if node.kind is not NodeKind.MAPPING:
            problems.add(node.location, f"found {node.kind}: expected variables, a mapping of names to values")
            return INVALID
        for key, value in node.entries:
            if not NAME.fullmatch(key.text):
                problems.add(
                    key.location, f"{key.text!r} is not a name: expected letters, digits and _, no digit first"
                )
            for item in (value, *value.items):
                if item.kind is NodeKind.MAPPING or (item is not value and item.kind is NodeKind.LIST):
                    problems.add(item.location, f"found {item.kind}: expected a string, a number, or a list of them")
        return {key.text: value for key, value in node.entries}

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        scalar = {"type": ["string", "number", "boolean"]}
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": {"anyOf": [scalar, {"type": "array", "items": scalar}]},
        }
