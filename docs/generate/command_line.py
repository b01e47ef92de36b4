"""Read the commands and options out of the argument parser, and the words that options take out of their table."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from docs.generate.markdown import sentence
from fleettrace.app.option_table import COMMANDS
from fleettrace.cli.parser import build_parser

__all__ = ["Argument", "Command", "CommandLine", "Option", "read_commands"]

_ENDING = re.compile(r" \((?:default (?P<default>[^()]+?))?(?:, )?(?P<variable>FLEETTRACE_[A-Z_]+)?\)$")
"""What a help text ends with: the default and the environment variable."""
_OPTIONAL_VALUE = "?"


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command."""

    flags: tuple[str, ...]
    value: str
    """The placeholder of its value, in brackets where the option may stand alone; nothing for a switch."""
    default: str
    variable: str
    text: str

    @property
    def flag(self) -> str:
        """The long name."""
        return self.flags[-1]


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument without a flag."""

    usage: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command with its options, by the titles of their groups."""

    name: str
    summary: str
    description: str
    arguments: tuple[Argument, ...]
    groups: dict[str, tuple[Option, ...]]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The program."""

    description: str
    epilog: str
    commands: tuple[Command, ...]

    @property
    def exit_codes(self) -> list[tuple[str, str]]:
        """Each exit code and its meaning, as `--help` lists them."""
        codes = " ".join(self.epilog.removeprefix("exit codes: ").split()).split(", ")
        return [(code, meaning) for code, _, meaning in (each.partition(" ") for each in codes)]


def read_commands() -> CommandLine:
    """Return all commands, as they are without environment variables."""
    parser = build_parser({})
    choices = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {each.dest: each.help or "" for each in choices._choices_actions}
    commands = tuple(_command(name, summaries[name], each) for name, each in choices.choices.items())
    return CommandLine(parser.description or "", parser.epilog or "", commands)


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    words = {option.name: option.choices for option in COMMANDS[name].options}
    arguments: list[Argument] = []
    groups: dict[str, tuple[Option, ...]] = {}
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        arguments += [_argument(action) for action in actions if not action.option_strings]
        if options := [_option(action, words) for action in actions if action.option_strings]:
            groups[group.title or "options"] = tuple(options)
    return Command(name, summary, parser.description or "", tuple(arguments), groups)


def _argument(action: argparse.Action) -> Argument:
    name = str(action.metavar or action.dest)
    usage = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)
    return Argument(usage, action.help or "")


def _option(action: argparse.Action, words: Mapping[str, Sequence[str]]) -> Option:
    text = (action.help or "").replace("%%", "%")
    ending = _ENDING.search(text)
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    taken = words.get(action.dest, ())
    return Option(
        tuple(action.option_strings),
        f"[{value}]" if action.nargs == _OPTIONAL_VALUE else value,
        (ending["default"] or "") if ending else "",
        f"FLEETTRACE_{action.dest.upper()}",
        _described(text[: ending.start()] if ending else text, taken),
    )


def _described(text: str, words: Sequence[str]) -> str:
    """Return the help text, with the words that the option takes unless it names them."""
    named = all(re.search(rf"\b{re.escape(word)}\b", text) for word in words)
    return sentence(text) if named else f"{sentence(text)} One of {', '.join(words)}."
