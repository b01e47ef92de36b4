"""The argument parser, made from `app.option_table`: an option's environment variable is its default."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from fleettrace import __version__
from fleettrace.app.option_model import Command, Form, Option
from fleettrace.app.option_table import COMMANDS
from fleettrace.errors import ConfigError

__all__ = ["build_parser", "parse"]

_DESCRIPTION = "The hot keys of a whole memcached fleet, counted exactly with bpftrace over SSH."
_EPILOG = """\
exit codes: 0 all traced, 1 a rule found something or `diff --exit-code` a change, 2 usage or configuration, 3 some
hosts failed, 4 too many did or there is nothing to report, 5 deadline reached, 75 another run holds the lock, 130/143
interrupted"""

_OF_PLAYS = frozenset(option.name for option in COMMANDS["run"].options) - {"extra_vars", "list_hosts"}
"""Options of `play` that the variables do not set: they are defaults of each play's own options (app/play/setup.py)."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line like any other configuration error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


class _Join(argparse.Action):
    """Joins the patterns of an option by commas; the first one on the command line replaces that of the variable."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: str | None = None) -> None:
        known = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if known is self.default else f"{known},{values}")
        setattr(namespace, f"{self.dest}_given", True)


class _Collect(argparse.Action):
    """Collects the values of an option; the first one on the command line replaces those of the variable."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: str | None = None) -> None:
        known = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [values] if known is self.default else [*known, values])


def build_parser(environ: Mapping[str, str] = os.environ) -> argparse.ArgumentParser:
    """Return the parser of all commands. Raises `ConfigError` for a variable with a wrong value."""
    parser = _Parser(
        prog="fleettrace",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fleettrace {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        description = f"{command.summary[0].upper()}{command.summary[1:]}."
        _fill(commands.add_parser(name, help=command.summary, description=description), name, command, environ)
    return parser


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> argparse.Namespace:
    """Return the command and its options. Raises `ConfigError` for a wrong command line or variable."""
    arguments, unknown = build_parser(environ).parse_known_args(argv)
    if unknown and hasattr(arguments, "pattern") and not any(word.startswith("-") for word in unknown):
        # argparse takes the positional arguments before the first option, and leaves those behind it.
        arguments.pattern = [*arguments.pattern, *unknown]
    elif unknown:
        raise ConfigError(_unknown(arguments.command, unknown))
    return arguments


def _unknown(command: str, words: Sequence[str]) -> str:
    """Return the message for words that the command does not take."""
    word = next((word for word in words if word.startswith("-")), None)
    if word is None:
        return f"unexpected argument {words[0]!r} (see `fleettrace {command} --help`)"
    name = word.partition("=")[0]
    import difflib

    near = difflib.get_close_matches(name, [option.flag for option in COMMANDS[command].options], 1, 0.75)
    hint = f": did you mean {near[0]}?" if near else ""
    return f"unknown option {name}{hint} (see `fleettrace {command} --help`)"


def _fill(parser: argparse.ArgumentParser, name: str, command: Command, environ: Mapping[str, str]) -> None:
    for positional in command.positionals:
        known: dict[str, Any] = {}
        if positional.nargs:
            none_given: list[str] | None = [] if positional.nargs == "*" else None
            known = {"nargs": positional.nargs, "default": positional.default or none_given}
        parser.add_argument(positional.name, metavar=positional.metavar, help=positional.help, **known)
    groups: dict[str, Any] = {}
    for option in command.options:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group.value)
        unset = name == "play" and option.name in _OF_PLAYS
        _add(groups[option.group], option, {} if unset else environ)


def _add(group: Any, option: Option, environ: Mapping[str, str]) -> None:
    flags = [option.short, option.flag] if option.short else [option.flag]
    default = "" if option.default is None else f"default {option.default}, "
    known: dict[str, Any] = {
        "default": option.initial(environ),
        "help": f"{option.help} ({default}{option.variable})".replace("%", "%%"),
    }
    match option.form:
        case Form.COUNT:
            group.add_argument(*flags, action="count", **known)
        case Form.UNION:
            group.add_argument(*flags, type=_converter(option), action=_Join, metavar=option.metavar, **known)
        case Form.SWITCH:
            group.add_argument(*flags, action="store_true", **known)
        case Form.OPTIONAL:
            choices = option.choices
            known |= {"nargs": "?", "const": choices[0], "metavar": "|".join(choices)}
            group.add_argument(*flags, type=_converter(option), **known)
        case Form.LIST:
            group.add_argument(*flags, type=_converter(option), action=_Collect, metavar=option.metavar, **known)
        case Form.VALUE:
            group.add_argument(*flags, type=_converter(option), metavar=option.metavar, **known)


def _converter(option: Option) -> Callable[[str], Any]:
    return lambda text: option.value(text, option.flag)
