"""The page of commands and options."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.command_line import Command, CommandLine, Option
from docs.generate.markdown import code, page, sentence, table

__all__ = ["pages"]

_INTRODUCTION = """\
Each option `--some-option` can also be given as the environment variable `FLEETTRACE_SOME_OPTION`. The command line
wins over the variable. A switch's variable is `1` or `0`; the variable of an option that may be repeated holds one
value on each line. In a playbook the options of `run` stand in `sweep`, without the dashes: [keys](playbook.md)."""


def pages(line: CommandLine) -> dict[str, str]:
    """Return the page by its name."""
    commands = "\n\n".join(_command(each) for each in line.commands)
    options = "\n\n".join(f"### {title[0].upper()}{title[1:]}\n\n{_table(rows)}" for title, rows in _groups(line))
    return {
        "options.md": page(
            "Commands and options",
            "the argument parser",
            _INTRODUCTION,
            f"## Commands\n\n{commands}",
            f"## Options\n\n{options}",
            f"## Exit codes\n\n{table(('code', 'meaning'), line.exit_codes)}",
        )
    }


def _command(command: Command) -> str:
    usage = " ".join(["fleettrace", command.name, "[OPTION ...]", *(each.usage for each in command.arguments)])
    flags = ", ".join(code(option.flag) for group in command.groups.values() for option in group)
    parts = [f"### fleettrace {command.name}", command.description, f"    {usage}"]
    parts += [f"{code(each.usage)}: {sentence(each.text)}" for each in command.arguments]
    return "\n\n".join([*parts, f"Options: {flags}."])


def _groups(line: CommandLine) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield each group's title and rows: an option that several commands have alike is one row."""
    titles = dict.fromkeys(title for command in line.commands for title in command.groups)
    for title in titles:
        users: dict[Option, list[str]] = {}
        for command in line.commands:
            for option in command.groups.get(title, ()):
                users.setdefault(option, []).append(command.name)
        yield title, [_row(option, names, len(line.commands)) for option, names in users.items()]


def _row(option: Option, commands: list[str], of: int) -> tuple[str, ...]:
    flags = ", ".join(code(flag) for flag in option.flags)
    names = "all" if len(commands) == of else ", ".join(commands)
    return flags, code(option.value), code(option.default), code(option.variable), names, option.text


def _table(rows: list[tuple[str, ...]]) -> str:
    return table(("option", "value", "default", "variable", "commands", "description"), rows)
