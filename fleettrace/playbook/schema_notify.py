"""The type of a playbook's `notify` entries: each names one target, with the options of its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fleettrace.playbook.notify.command import CommandTarget
from fleettrace.playbook.notify.interface import NotifyTarget, NotifyWhen
from fleettrace.playbook.notify.mail import MailTarget
from fleettrace.playbook.notify.secret import Secret
from fleettrace.playbook.notify.stamp import StampTarget
from fleettrace.playbook.notify.textfile import TextfileTarget
from fleettrace.playbook.notify.webhook import WebhookTarget
from fleettrace.playbook.problems import PlaybookError, Problem, Problems, meant
from fleettrace.playbook.schema_types import INVALID, KeySpec, ListOf, MappingType, OneOf, Text, ValueType
from fleettrace.yaml_reader.tree import Location, Node, NodeKind

__all__ = ["notify_type", "target_of"]

_MAX_SECONDS = 600

_KIND_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "command": ("when", "on", "repeat", "timeout"),
    "webhook": ("when", "on", "repeat", "timeout", "retries", "secret_file", "secret_variable"),
    "mail": ("when", "on", "repeat", "timeout", "from", "sendmail"),
    "textfile": (),
    "stamp": (),
}
"""The kinds of target, each with its options."""

_ATTRIBUTES = {
    "when": "on",
    "on": "on",
    "repeat": "repeat_s",
    "timeout": "timeout_s",
    "retries": "retries",
    "from": "sender",
    "sendmail": "sendmail",
}
_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "when": NotifyWhen,
    "on": NotifyWhen,
    "repeat": float,
    "timeout": float,
    "retries": int,
    "from": str,
    "sendmail": str,
}


def notify_type() -> ValueType:
    """Return the type of a list of targets."""
    return ListOf(_Target({kind: _keys(kind) for kind in _KIND_OPTIONS}), "a list of targets")


@dataclass(frozen=True, slots=True)
class _Target:
    """One entry; the key that it has decides its kind."""

    kinds: Mapping[str, MappingType]

    def read(self, node: Node, problems: Problems) -> Any:
        """Return a target."""
        found = [key for key, _ in node.entries if key.text in self.kinds]
        if len(found) == 1:
            target = self.kinds[found[0].text].read(node, problems)
            return target if target is INVALID else replace(target, origin=node.location)
        expected = f": expected one of {', '.join(self.kinds)}"
        unknown = next((key for key, _ in node.entries if key.text not in _OPTIONS), None)
        if found:
            conflict = f"{found[0].text!r} and {found[1].text!r} in one entry of `notify`"
            problems.add(found[1].location, f"{conflict}{expected} in each")
        elif unknown is not None:
            hint = meant(unknown.text, self.kinds)
            problems.add(unknown.location, f"unknown key {unknown.text!r} in an entry of `notify`{expected}{hint}")
        elif node.kind is not NodeKind.INVALID:
            problems.add(node.location, f"an entry of `notify` without a target{expected}")
        return INVALID

    def schema(self) -> dict[str, Any]:
        """See `ValueType`."""
        return {"anyOf": [keys.schema() for keys in self.kinds.values()]}


def _keys(kind: str) -> MappingType:
    value_type, text = _KINDS[kind]
    options = {name: _OPTIONS[name] for name in _KIND_OPTIONS[kind]}

    def made(values: dict[str, Any], locations: Mapping[str, Location]) -> Any:
        try:
            return target_of(values)
        except ValueError as error:
            message = str(error)
            hint = "" if "expected " in message else f": expected {value_type.expected}"
            raise PlaybookError([Problem(locations[kind], f"{message}{hint}")]) from None

    return MappingType(
        f"an entry of `notify` with {kind}", {kind: KeySpec(value_type, text, required=True), **options}, make=made
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _MAX_SECONDS:
        raise ValueError(f"{text!r} is not a timeout: expected seconds, such as 10, up to {_MAX_SECONDS}")
    return seconds


def _repeat(text: str) -> float:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([mhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a time: expected minutes, hours or days, such as 30m, 6h or 1d")
    return float(found[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0}[found[2]]


def _retries(text: str) -> int:
    if text not in [str(number) for number in range(11)]:
        raise ValueError(f"{text!r} is not a number of retries: expected a whole number from 0 to 10")
    return int(text)


_KINDS: Mapping[str, tuple[ListOf | Text, str]] = {
    "command": (
        ListOf(Text("a string"), "a program and its arguments"),
        "A program; it receives the notice as JSON on stdin.",
    ),
    "webhook": (
        Text("a URL such as https://chat.example/hooks/cache"),
        "A URL that accepts the notice as JSON in a POST.",
    ),
    "mail": (
        ListOf(Text("an address"), "a list of addresses"),
        "Mail addresses; the system's sendmail sends the mail.",
    ),
    "textfile": (
        Text("a file named *.prom"),
        "A file of metrics for node_exporter's textfile collector, written after every run.",
    ),
    "stamp": (Text("a file"), "A file with the time of the last run that succeeded."),
}
_OPTIONS: Mapping[str, KeySpec] = {
    "when": KeySpec(
        OneOf(tuple(each.value for each in NotifyWhen)),
        "When to send: on change (the default), after every run, or once a day what all runs found.",
    ),
    "on": KeySpec(OneOf(tuple(each.value for each in NotifyWhen)), "The same as `when`."),
    "repeat": KeySpec(
        Text("a time such as 30m, 6h or 1d", _repeat), "Send a finding that persists again after this time."
    ),
    "timeout": KeySpec(Text("seconds, such as 10", _seconds, ("string", "number")), "Timeout in seconds."),
    "retries": KeySpec(
        Text("a whole number from 0 to 10", _retries, ("string", "number")), "Retries after a transient failure."
    ),
    "secret_file": KeySpec(Text("a file"), "The file with the secret that signs the notice."),
    "secret_variable": KeySpec(Text("an environment variable"), "The environment variable with that secret."),
    "from": KeySpec(Text("an address"), "The sender. Default: set by sendmail."),
    "sendmail": KeySpec(Text("a file"), "The sendmail program. Default: /usr/sbin/sendmail."),
}


def target_of(entry: Mapping[str, Any]) -> NotifyTarget:
    """Return the target of an entry: one of the kinds, with its options.

    `command` is a list of strings, `mail` a list of addresses, `webhook` a URL, `textfile` and `stamp` are paths;
    `timeout` and `repeat` are in seconds, `when` is `change`, `every` or `daily`. Raise `ValueError` with a message for
    the user.
    """
    kinds = [kind for kind in _KIND_OPTIONS if kind in entry]
    if len(kinds) != 1:
        raise ValueError(f"expected exactly one of {', '.join(_KIND_OPTIONS)}")
    kind = kinds[0]
    others = set(entry) - {kind, *_KIND_OPTIONS[kind]}
    if others:
        known = ", ".join(_KIND_OPTIONS[kind])
        raise ValueError(f"{min(others)} is not an option of {kind}: expected {known or 'no option'}")
    if "on" in entry and "when" in entry:
        raise ValueError("on and when are the same: expected one of them")
    if entry.get("when", entry.get("on")) == NotifyWhen.DAILY and "repeat" in entry:
        raise ValueError("a daily digest has what persists: expected no repeat")
    options: dict[str, Any] = {
        attribute: _CONVERT[name](entry[name]) for name, attribute in _ATTRIBUTES.items() if name in entry
    }
    match kind:
        case "command":
            return CommandTarget(tuple(entry[kind]), **options)
        case "webhook":
            return WebhookTarget(entry[kind], _secret(entry), **options)
        case "mail":
            return MailTarget(tuple(entry[kind]), **options)
        case "textfile":
            return TextfileTarget(Path(entry[kind]))
    return StampTarget(Path(entry[kind]))


def _secret(entry: Mapping[str, Any]) -> Secret | None:
    file, variable = entry.get("secret_file"), entry.get("secret_variable")
    return None if file is None and variable is None else Secret(None if file is None else Path(file), variable)
