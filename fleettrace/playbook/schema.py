"""What may stand in a playbook: the one table that files are checked by and their JSON Schema is made from.

The options of a sweep are the command line's, which is not known here: whoever reads playbooks brings them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleettrace.inventory.pattern import split_pattern
from fleettrace.playbook.model import PlayOutput
from fleettrace.playbook.problems import Problems
from fleettrace.playbook.schema_notify import notify_shape
from fleettrace.playbook.schema_rules import rules_shape
from fleettrace.playbook.schema_types import WRONG, KeySpec, ListOf, MappingType, OneOf, Text, ValueType, WordList
from fleettrace.playbook.variables import NAME
from fleettrace.report.formats import Output
from fleettrace.store.history.retention import parse_retention
from fleettrace.yaml_reader.tree import Location, Node, NodeKind

__all__ = ["Layout", "layout", "schema"]

SCHEMA_ID = "urn:fleettrace:schema:playbook:1"

_ELSEWHERE = {
    "hosts": "it at the play, beside `sweep`",
    "keep": "it at the play, beside `sweep`",
    "output": "`outputs: [{format: ..., file: ...}]` at the play",
    "out": "`outputs: [{format: ..., file: ...}]` at the play",
    "html": "`outputs: [{format: html, file: ...}]` at the play",
    "resume": "`fleettrace run --resume RUN`: a playbook always begins runs of its own",
}
"""Options of `run` that a play says in another place."""

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Layout:
    """What an entry of a playbook may be."""

    play: MappingType
    include: MappingType


def layout(sweep: Mapping[str, KeySpec]) -> Layout:
    """The layout of playbooks whose sweeps have these options, by their long names."""
    options = {name: key for name, key in sweep.items() if name not in _ELSEWHERE}
    variables = KeySpec(_Variables(), "variables of the play, which an include's and -e override")
    tags = KeySpec(WordList(Text("tags: words with commas between them", _tags)), "words for --tags and --skip-tags")
    play = MappingType(
        "a play",
        {
            "name": KeySpec(Text("a name, on one line", _name), "a name that no other play here has", required=True),
            "hosts": KeySpec(Text("a host pattern such as 'cache:!canary'", _pattern), "a host pattern", required=True),
            "vars": variables,
            "sweep": KeySpec(
                MappingType("a sweep", options, _ELSEWHERE), "options of `fleettrace run`, by their long names"
            ),
            "rules": KeySpec(rules_shape(), "what is worth a finding"),
            "outputs": KeySpec(ListOf(_output(), "a list of outputs"), "how its report is written, and where"),
            "notify": KeySpec(notify_shape(), "who is told of what is found"),
            "keep": KeySpec(WordList(Text("limits such as 90d,3000,1G", _keep)), "what the history keeps at most"),
            "tags": tags,
        },
        {"include": "`- include: FILE` as an entry of its own"},
    )
    location = KeySpec(Text("a playbook's file, from the folder of this one"), "a playbook's file", required=True)
    return Layout(play, MappingType("an include", {"include": location, "vars": variables, "tags": tags}))


def schema(known: Layout) -> dict[str, Any]:
    """The layout as JSON Schema, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "fleettrace playbook, version 1",
        "description": "What `fleettrace play FILE` reads. It looks closer than a schema can: see --syntax-check.",
        "type": "array",
        "minItems": 1,
        "items": {
            "if": {"required": ["include"]},
            "then": known.include.schema(),
            "else": known.play.schema(),
        },
    }


def _output() -> ValueType:
    return MappingType(
        "an output",
        {
            "format": KeySpec(OneOf(tuple(each.value for each in Output)), "the form of the report", required=True),
            "file": KeySpec(Text("a file"), "the file, replaced in one step; left out: to stdout"),
        },
        make=_made_output,
    )


def _made_output(values: dict[str, Any], locations: Mapping[str, Location]) -> PlayOutput:
    return PlayOutput(values["format"], values.get("file"), locations["format"])


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 100:
        raise ValueError(f"{text!r} is no name; expected up to 100 characters on one line")
    return text.strip()


def _keep(text: str) -> str:
    parse_retention(text)
    return text


def _tags(text: str) -> frozenset[str]:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not _TAG.fullmatch(word):
            raise ValueError(f"{word!r} is no tag; expected letters, digits, _, . and -")
    return frozenset(words)


def _pattern(text: str) -> str:
    """A host pattern that could select something; what it selects, the inventory says."""
    parts = split_pattern(text)
    if not parts:
        raise ValueError("the host pattern is empty; expected 'all' for every host")
    for part in parts:
        word = part[1:] if part[0] in "&!" else part
        if not word:
            raise ValueError(f"the host pattern has {part!r} with nothing after it; expected what it applies to")
        if word[0] == "~":
            try:
                re.compile(word[1:])
            except re.error as error:
                raise ValueError(
                    f"the host pattern {word!r} is no regular expression: {error}; expected one that Python's re takes"
                ) from None
    return text


@dataclass(frozen=True, slots=True)
class _Variables:
    """Names, and what they stand for: scalars, or lists of them."""

    def read(self, node: Node, problems: Problems) -> Any:
        """The values as they are written: they are put in where they are used."""
        if node.kind is not NodeKind.MAPPING:
            problems.add(node.location, f"here is {node.kind}; expected variables: a mapping of names to values")
            return WRONG
        for key, value in node.entries:
            if not NAME.fullmatch(key.text):
                problems.add(key.location, f"{key.text!r} is no name; expected letters, digits and _, no digit first")
            for item in (value, *value.items):
                if item.kind is NodeKind.MAPPING or (item is not value and item.kind is NodeKind.LIST):
                    problems.add(item.location, f"here is {item.kind}; expected a text, a number, or a list of them")
        return {key.text: value for key, value in node.entries}

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        scalar = {"type": ["string", "number", "boolean"]}
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": {"anyOf": [scalar, {"type": "array", "items": scalar}]},
        }
