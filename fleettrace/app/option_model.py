"""What an option, a positional argument and a command are: their names, variables, values and help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from typing import Any, Self

from fleettrace.app.option_values import Choice
from fleettrace.errors import ConfigError

__all__ = ["Command", "Form", "Group", "Option", "OptionValues", "Positional", "switch"]

_SWITCH_VALUES = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


class Group(StrEnum):
    """The titles under which `--help` lists options."""

    HOSTS = "which hosts"
    TRACE = "what to trace"
    SAFETY = "safety"
    CONNECTION = "how to connect"
    REPORT = "report"
    RUNS = "stored runs"
    SCHEDULE = "schedule"
    PLAYS = "plays"
    MESSAGES = "messages"


class Form(Enum):
    """How an option is given."""

    VALUE = "value"
    """Once, with a value."""
    LIST = "list"
    """Any number of times, each with a value; its variable has one value on each line."""
    UNION = "union"
    """Any number of times, each with a pattern; a comma joins them, which makes their union."""
    COUNT = "count"
    """Alone, any number of times; its variable is their number."""
    OPTIONAL = "optional"
    """Alone, for the first of its choices, or with `=` and one of them; its variable may also be 1 or 0."""
    SWITCH = "switch"
    """Alone; its variable is 1 or 0."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    flag: str
    group: Group
    help: str
    read: Callable[[str], Any] = str
    """Convert a value. Raises `ValueError`, which states what was expected."""
    default: str | None = None
    """Read like a value that is given."""
    metavar: str = ""
    short: str = ""
    form: Form = Form.VALUE
    from_ansible: bool = False
    """Where the option is not given, ansible.cfg may set it; so it has no value until that is read (app/site.py)."""

    @property
    def name(self) -> str:
        """The field of `RunOptions`."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"FLEETTRACE_{self.name.upper()}"

    def value(self, text: str, source: str) -> Any:
        """Convert `text`, which `source` gave. Raises `ConfigError`, which names the source."""
        try:
            return self.read(text)
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from None

    def initial(self, environ: Mapping[str, str]) -> Any:
        """Return the value of an option that the command line leaves out. Raises `ConfigError`."""
        given = environ.get(self.variable)
        match self.form:
            case Form.VALUE | Form.UNION if given is None:
                return None if self.default is None or self.from_ansible else self.read(self.default)
            case Form.VALUE | Form.UNION:
                return self.value(str(given), self.variable)
            case Form.COUNT:
                return self._count(given or "0")
            case Form.LIST:
                return [self.value(line, self.variable) for line in (given or "").splitlines() if line]
            case Form.SWITCH:
                if (given or "").lower() not in _SWITCH_VALUES:
                    raise ConfigError(f"{self.variable}={given!r}: expected 1 or 0")
                return _SWITCH_VALUES[(given or "").lower()]
            case Form.OPTIONAL:
                switched = _SWITCH_VALUES.get((given or "").lower())
                if switched is None:
                    return self.value((given or "").lower(), self.variable)
                return self.choices[0] if switched else None

    def _count(self, given: str) -> int:
        if given.isascii() and given.isdigit() and len(given) < 3:
            return int(given)
        if given.lower() not in _SWITCH_VALUES:
            raise ConfigError(f"{self.variable}={given!r}: expected 0, 1, 2 or 3")
        return int(_SWITCH_VALUES[given.lower()])

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that an option takes, if it takes only some."""
        return self.read.names if isinstance(self.read, Choice) else ()


def switch(flag: str, group: Group, text: str, short: str = "") -> Option:
    """Return an option that is given alone."""
    return Option(flag, group, text, short=short, form=Form.SWITCH)


@dataclass(frozen=True, slots=True)
class Positional:
    """An argument without a flag."""

    name: str
    metavar: str
    help: str
    nargs: str | None = None
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `fleettrace`."""

    summary: str
    options: tuple[Option, ...]
    positionals: tuple[Positional, ...] = ()


@dataclass(frozen=True, slots=True)
class OptionValues:
    """The base of a dataclass with a field for each option of a command."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Take the fields that `values` has; the others keep their defaults."""
        known: dict[str, Any] = {}
        for each in fields(cls):
            if each.name in values:
                value = values[each.name]
                known[each.name] = tuple(value) if isinstance(value, list) else value
        return cls(**known)
