"""Read the commands and options out of the argument parser."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

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


def read_commands() -> CommandLine:
    """Return all commands, as they are without environment variables."""
    parser = build_parser({})
    choices = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {each.dest: each.help or "" for each in choices._choices_actions}
    commands = tuple(_command(name, summaries[name], each) for name, each in choices.choices.items())
    return CommandLine(parser.description or "", parser.epilog or "", commands)


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    arguments: list[Argument] = []
    groups: dict[str, tuple[Option, ...]] = {}
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        arguments += [_argument(action) for action in actions if not action.option_strings]
        if options := [_option(action) for action in actions if action.option_strings]:
            groups[group.title or "options"] = tuple(options)
    return Command(name, summary, parser.description or "", tuple(arguments), groups)


def _argument(action: argparse.Action) -> Argument:
    name = str(action.metavar or action.dest)
    usage = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)
    return Argument(usage, action.help or "")


def _option(action: argparse.Action) -> Option:
    text = (action.help or "").replace("%%", "%")
    ending = _ENDING.search(text)
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    return Option(
        tuple(action.option_strings),
        f"[{value}]" if action.nargs == _OPTIONAL_VALUE else value,
        (ending["default"] or "") if ending else "",
        f"FLEETTRACE_{action.dest.upper()}",
        text[: ending.start()] if ending else text,
    )
