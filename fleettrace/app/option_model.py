"""What an option, a positional argument and a command are: their names, variables, values and help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from typing import Any, Self

from fleettrace.app.option_values import Choice
from fleettrace.errors import ConfigError

__all__ = ["Command", "Form", "Group", "Option", "OptionValues", "Positional"]

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
            case Form.VALUE if given is None:
                return None if self.default is None else self.read(self.default)
            case Form.VALUE:
                return self.value(str(given), self.variable)
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

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that an option takes, if it takes only some."""
        return self.read.names if isinstance(self.read, Choice) else ()


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
