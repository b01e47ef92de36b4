"""Manual pages: reStructuredText made from the parser, converted by docutils."""

from __future__ import annotations

import re

from docutils.core import publish_string

from docs.generate.command_line import Command, CommandLine, Option
from docs.generate.markdown import sentence

__all__ = ["pages"]

_DESCRIPTION = """\
fleettrace logs in to each host of an Ansible inventory over SSH, finds every memcached there (in a container or not),
attaches a time-bounded bpftrace(8) program to its executable, and merges the counts of requests by key into one report.
Nothing is installed on the hosts but bpftrace."""
_VARIABLES = """\
Each option can also be given as an environment variable, which the option's entry names. The command line wins. The
variable of a switch is 1 or 0; that of an option that may be repeated holds one value on each line."""
_FILES = (
    (
        "./inventory.yaml, ~/.config/fleettrace/inventory.yaml, /etc/fleettrace/inventory.yaml",
        "The inventory, without -i.",
    ),
    ("/var/lib/fleettrace, ~/.local/share/fleettrace", "The history of runs, of root and of other users."),
)


def pages(line: CommandLine) -> dict[str, str]:
    """Return the page of the program and one of each command, by their file names."""
    names = [f"fleettrace-{command.name}" for command in line.commands]
    made = {"fleettrace.1": _roff("fleettrace", line.description, _program(line, names))}
    for name, command in zip(names, line.commands, strict=True):
        made[f"{name}.1"] = _roff(name, command.summary, _command(command, line))
    return made


def _program(line: CommandLine, names: list[str]) -> list[str]:
    commands = [_item(f"**{command.name}**", command.description) for command in line.commands]
    return [
        _section("Synopsis", "**fleettrace** [**-h**] [**--version**] *COMMAND* ..."),
        _section("Description", _DESCRIPTION),
        _section("Commands", *commands),
        _section("Environment", _VARIABLES),
        _exit_status(line),
        _section("Files", *(_item(_plain(files), text) for files, text in _FILES)),
        _section("See also", ", ".join(f"**{name}**\\ (1)" for name in names)),
    ]


def _command(command: Command, line: CommandLine) -> list[str]:
    arguments = " ".join(_plain(each.usage) for each in command.arguments)
    sections = [
        _section("Synopsis", f"**fleettrace {command.name}** [*OPTION* ...] {arguments}".rstrip()),
        _section("Description", _plain(command.description)),
    ]
    if command.arguments:
        sections.append(
            _section("Arguments", *(_item(_plain(each.usage), sentence(each.text)) for each in command.arguments))
        )
    for title, options in command.groups.items():
        sections.append(_section(title[0].upper() + title[1:], *map(_option, options)))
    return [*sections, _exit_status(line), _section("See also", "**fleettrace**\\ (1)")]


def _option(option: Option) -> str:
    value = f" *{_plain(option.value)}*" if option.value else ""
    default = f" Default: {_plain(option.default)}." if option.default else ""
    return _item(
        ", ".join(f"**{flag}**" for flag in option.flags) + value,
        f"{_plain(option.text)}{default} Variable: {option.variable}.",
    )


def _exit_status(line: CommandLine) -> str:
    return _section("Exit status", *(_item(code, sentence(meaning)) for code, meaning in line.exit_codes))


def _section(title: str, *parts: str) -> str:
    return "\n\n".join((f"{title}\n{'=' * len(title)}", *parts))


def _item(term: str, text: str) -> str:
    """Return an entry of a definition list."""
    return f"{term}\n    {' '.join(_plain(text).split()) if '**' not in text else text}"


def _plain(text: str) -> str:
    """Return the text with everything escaped that reStructuredText would read as markup."""
    return re.sub(r"(?<!\\)([\\*`_|])", r"\\\1", text)


def _roff(name: str, summary: str, sections: list[str]) -> str:
    title = "\n".join(("=" * len(name), name, "=" * len(name)))
    head = summary.removesuffix(".")
    fields = ":Manual section: 1\n:Manual group: fleettrace manual"
    source = "\n\n".join((title, f"{'-' * len(head)}\n{head}\n{'-' * len(head)}", fields, *sections))
    settings = {"report_level": 2, "halt_level": 2, "_disable_config": True, "datestamp": None, "generator": None}
    made: bytes = publish_string(source, writer="manpage", settings_overrides=settings)
    return made.decode()
