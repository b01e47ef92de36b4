"""The options of plays: those of `fleettrace play`, and those of `fleettrace run` that a playbook's `sweep` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fleettrace.app.option_model import Form, Option, OptionValues
from fleettrace.app.option_table import COMMANDS
from fleettrace.playbook.model import Play
from fleettrace.playbook.schema import Layout, layout
from fleettrace.playbook.schema_types import KeySpec, ListOf, OneOf, Switch, Text, ValueType, WordList

__all__ = ["INVENTORY_PREFIXES", "PlayOptions", "play_schema", "run_values"]

INVENTORY_PREFIXES = ("ansible_", "fleettrace_")
"""The variables of `-e` with these names are for the inventory, not for the playbook."""
_COMMA_LISTS = ("ops", "serial", "keep")
"""Options with values separated by commas, which may be a list in YAML."""

_TYPES = ("string", "number")

_ON_THE_COMMAND_LINE = ("extra-vars", "list-hosts")
"""Options of `fleettrace run` that a playbook does not take: those of `fleettrace play` have their names."""
_RUN = {
    name: option
    for option in COMMANDS["run"].options
    if (name := option.flag.removeprefix("--")) not in _ON_THE_COMMAND_LINE
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayOptions(OptionValues):
    """The options of `fleettrace play`, without their dashes. They take precedence over the playbook's."""

    files: tuple[str, ...]
    """Playbooks: paths, or names of those that ship with fleettrace."""
    extra_vars: tuple[str, ...] = ()
    tags: str | None = None
    skip_tags: str | None = None
    fail_on: str = "low"
    check: bool = False
    list_hosts: bool = False
    syntax_check: bool = False
    inventory: tuple[str, ...] = ()
    limit: str | None = None
    forks: int | None = None
    user: str | None = None
    private_key: str | None = None
    ssh_common_args: str | None = None
    ssh_extra_args: str | None = None
    become: bool = False
    become_method: str | None = None
    become_user: str | None = None
    ask_pass: bool = False
    ask_become_pass: bool = False
    vault_password_file: tuple[str, ...] = ()
    vault_id: tuple[str, ...] = ()
    ask_vault_pass: bool = False
    no_ansible_cfg: bool = False
    ssh_config: str | None = None
    store: str | None = None
    no_store: bool = False
    no_color: bool = False
    quiet: bool = False
    verbose: int = 0


@cache
def play_schema() -> Layout:
    """Return the schema of playbooks."""
    return layout({name: KeySpec(_value_type(option), _help(option)) for name, option in _RUN.items()})


def _value_type(option: Option) -> ValueType:
    match option.form:
        case Form.SWITCH | Form.COUNT:
            return Switch()
        case Form.OPTIONAL:
            return OneOf(option.choices, alone=option.choices[0])
        case Form.LIST:
            return ListOf(Text(option.metavar, _checked(option)), f"one {option.metavar} or a list of them")
    if option.choices:
        return OneOf(option.choices)
    text = Text(f"{option.metavar}: {option.help}", _checked(option), _TYPES)
    return WordList(text) if option.name in _COMMA_LISTS else text


def _help(option: Option) -> str:
    default = option.default is not None and option.form in (Form.VALUE, Form.UNION)
    return f"{option.help} Default: {option.default}." if default else option.help


def _checked(option: Option) -> Callable[[str], str]:
    """Check a text and return it as it is: `run_values` converts it."""

    def check(text: str) -> str:
        option.read(text)
        return text

    return check


def run_values(play: Play, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the play's options of a run by the fields of `RunOptions`: the playbook's values, else those of the
    environment variables, else the defaults. Raises `ConfigError`."""
    values = {option.name: option.initial(environ) for option in _RUN.values()}
    given: dict[str, str | bool | list[str] | None] = dict(play.sweep)
    if play.keep is not None:
        given["keep"] = play.keep
    for name, value in given.items():
        option = _RUN[name]
        if option.form in (Form.SWITCH, Form.COUNT):
            values[option.name] = bool(value)
        elif option.form is Form.LIST:
            texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
            values[option.name] = [option.value(text, option.flag) for text in texts]
        else:
            values[option.name] = option.value(value, option.flag) if isinstance(value, str) else None
    return values
