"""The options of `fleettrace run`, as a playbook's `sweep` takes them: the same names, read by the same converters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from fleettrace.cli.options import Choice
from fleettrace.cli.parser import add_options
from fleettrace.playbook.model import Play
from fleettrace.playbook.schema import Layout, layout
from fleettrace.playbook.schema_types import KeySpec, ListOf, OneOf, Switch, Text, ValueType, WordList

__all__ = ["play_layout", "sweep_words"]

_WORDS = ("ops", "serial", "keep")
"""Options whose values are words with commas between them, which may be a list in YAML."""

_ANY = ("string", "number")


class _Keys:
    """Takes options as the keys of a mapping."""

    def __init__(self) -> None:
        self.keys: dict[str, KeySpec] = {}

    def value(
        self, flag: str, read: Callable[[str], Any], default: str | None, metavar: str, text: str, **_: str
    ) -> None:
        shape: ValueType
        if isinstance(read, Choice):
            shape = OneOf(read.names)
        else:
            one = Text(f"{metavar}: {text}", _unchanged(read), _ANY)
            shape = WordList(one) if _name(flag) in _WORDS else one
        self._add(flag, shape, text if default is None else f"{text} (default {default})")

    def values(self, flag: str, read: Callable[[str], Any], metavar: str, text: str, **_: str) -> None:
        self._add(flag, ListOf(Text(metavar, _unchanged(read)), f"one {metavar} or a list of them"), text)

    def choice(self, flag: str, names: Sequence[str], text: str) -> None:
        self._add(flag, OneOf(tuple(names), alone=names[0]), text)

    def switch(self, flag: str, text: str, **_: str) -> None:
        self._add(flag, Switch(), text)

    def _add(self, flag: str, shape: ValueType, text: str) -> None:
        self.keys[_name(flag)] = KeySpec(shape, text)


def _name(flag: str) -> str:
    return flag.removeprefix("--")


def _unchanged(read: Callable[[str], Any]) -> Callable[[str], str]:
    """Checks a text, and leaves the reading to the command line, which the sweep is handed to."""

    def check(text: str) -> str:
        read(text)
        return text

    return check


@cache
def play_layout() -> Layout:
    """What may stand in a playbook."""
    taken = _Keys()
    add_options("run", taken)
    return layout(taken.keys)


def sweep_words(play: Play) -> tuple[list[str], list[str]]:
    """The play's sweep as words of a command line, and the names of the switches that it turns off."""
    words, off = [], []
    for name, value in play.sweep.items():
        if value is True:
            words.append(f"--{name}")
        elif value is False or value is None:
            off.append(name)
        else:
            words += [f"--{name}={text}" for text in ([value] if isinstance(value, str) else value)]
    return words, off
