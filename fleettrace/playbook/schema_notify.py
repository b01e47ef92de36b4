"""How those who are told are written in a playbook: each entry names one, with the options that go with its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleettrace.playbook.notify.interface import NotifyWhen
from fleettrace.playbook.notify.targets import OPTIONS, target_of
from fleettrace.playbook.problems import PlaybookError, Problem, Problems, meant
from fleettrace.playbook.schema_types import WRONG, KeySpec, ListOf, MappingType, OneOf, Text, ValueType
from fleettrace.yaml_reader.tree import Location, Node, NodeKind

__all__ = ["notify_shape"]

_MOST_SECONDS = 600


def notify_shape() -> ValueType:
    """Reads a list of targets."""
    return ListOf(_Target({kind: _keys(kind) for kind in OPTIONS}), "a list of those who are told")


@dataclass(frozen=True, slots=True)
class _Target:
    """One entry: its kind is the key that it has."""

    kinds: Mapping[str, MappingType]

    def read(self, node: Node, problems: Problems) -> Any:
        """As `ValueType` has it: a target."""
        found = [key for key, _ in node.entries if key.text in self.kinds]
        if len(found) == 1:
            return self.kinds[found[0].text].read(node, problems)
        expected = f"; expected one of {', '.join(self.kinds)}"
        unknown = next((key for key, _ in node.entries if key.text not in _OPTIONS), None)
        if found:
            words = f"{found[0].text!r} and {found[1].text!r} in one entry of `notify`"
            problems.add(found[1].location, f"{words}{expected} in each")
        elif unknown is not None:
            hint = meant(unknown.text, self.kinds)
            problems.add(unknown.location, f"unknown key {unknown.text!r} in an entry of `notify`{expected}{hint}")
        elif node.kind is not NodeKind.BROKEN:
            problems.add(node.location, f"an entry of `notify` that names nobody{expected}")
        return WRONG

    def schema(self) -> dict[str, Any]:
        """As `ValueType` has it."""
        return {"anyOf": [keys.schema() for keys in self.kinds.values()]}


def _keys(kind: str) -> MappingType:
    shape, text = _KINDS[kind]
    options = {name: _OPTIONS[name] for name in OPTIONS[kind]}

    def made(values: dict[str, Any], locations: Mapping[str, Location]) -> Any:
        try:
            return target_of(values)
        except ValueError as error:
            message = str(error).replace(": expected ", "; expected ", 1)
            hint = "" if "expected " in message else f"; expected {shape.expected}"
            raise PlaybookError([Problem(locations[kind], f"{message}{hint}")]) from None

    return MappingType(
        f"an entry of `notify` with {kind}", {kind: KeySpec(shape, text, required=True), **options}, make=made
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise ValueError(f"{text!r} is no time to wait; expected seconds, such as 10, up to {_MOST_SECONDS}")
    return seconds


def _retries(text: str) -> int:
    if text not in [str(number) for number in range(11)]:
        raise ValueError(f"{text!r} is no number of retries; expected a whole number from 0 to 10")
    return int(text)


_KINDS: Mapping[str, tuple[ListOf | Text, str]] = {
    "command": (ListOf(Text("a word"), "a program and its arguments"), "a program, given the notice as JSON on stdin"),
    "webhook": (
        Text("an address such as https://chat.example/hooks/cache"),
        "an address that takes the notice as JSON in a POST",
    ),
    "mail": (ListOf(Text("an address"), "a list of addresses"), "addresses, by the system's sendmail"),
    "textfile": (Text("a file named *.prom"), "metrics for node_exporter's textfile collector, after every run"),
    "stamp": (Text("a file"), "a file that is touched after every run that succeeded"),
}
_OPTIONS: Mapping[str, KeySpec] = {
    "on": KeySpec(OneOf(tuple(each.value for each in NotifyWhen)), "when: on change (the default), or every time"),
    "timeout": KeySpec(Text("seconds, such as 10", _seconds, ("string", "number")), "seconds to wait"),
    "retries": KeySpec(Text("a whole number from 0 to 10", _retries, ("string", "number")), "further attempts"),
    "secret_file": KeySpec(Text("a file"), "the file of the secret that the body is signed with"),
    "secret_variable": KeySpec(Text("an environment variable"), "the variable of that secret"),
    "from": KeySpec(Text("an address"), "the sender (default: as sendmail has it)"),
    "sendmail": KeySpec(Text("a file"), "the program (default /usr/sbin/sendmail)"),
}
