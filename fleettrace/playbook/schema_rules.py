"""How rules are written in a playbook: an expression alone, or with a severity, a message and a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleettrace.playbook.findings import Severity
from fleettrace.playbook.problems import Problems
from fleettrace.playbook.rules.language import RuleError, compile_rule
from fleettrace.playbook.schema_types import WRONG, Either, KeySpec, ListOf, MappingType, OneOf, Text, ValueType
from fleettrace.yaml_reader.tree import Location, Node

__all__ = ["rules_shape"]

_EXPRESSION = "an expression such as key.share > 5%"


def rules_shape() -> ValueType:
    """Reads a list of rules, compiled."""
    keys = MappingType(
        "a rule",
        {
            "when": KeySpec(Text(_EXPRESSION), _EXPRESSION, required=True),
            "severity": KeySpec(
                OneOf(tuple(each.value for each in Severity), Severity), "how bad it is (default medium)"
            ),
            "message": KeySpec(
                Text("a text, which may have fields in braces"), "what a finding says, fields in braces"
            ),
            "name": KeySpec(Text("a name"), "what findings are told by (default: the expression)"),
        },
    )
    return ListOf(Either(_Rule(Text(_EXPRESSION)), _Rule(keys)), "a list of rules")


@dataclass(frozen=True, slots=True)
class _Rule:
    """Compiles what another shape reads."""

    written: ValueType

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it: a rule."""
        values = self.written.read(node, problems)
        if values is WRONG:
            return WRONG
        part_of: Callable[[str], Node | None] = node.get
        if isinstance(values, str):
            values, part_of = {"when": values}, lambda part: node if part == "when" else None
        try:
            return compile_rule(**values)
        except RuleError as error:
            part = part_of(error.part) or node
            location, where = _column(part, error.column)
            problems.add(location, error.message.replace(": expected ", "; expected ", 1) + where)
            return WRONG

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        return self.written.schema()


def _column(node: Node, column: int) -> tuple[Location, str]:
    """Where that column of a text is; of one that does not stand in the file letter by letter, words say it."""
    text_location = node.text_location
    if text_location is None:
        return node.location, f" (in column {column} of {node.text!r})"
    return Location(text_location.file, text_location.line, text_location.column + column - 1), ""
