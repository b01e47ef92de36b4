"""How an option is added to a command: with its environment variable as the default, and errors that name it.

What adds options adds them to `Options`, which need not be a parser: a playbook's `sweep` takes the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fleettrace.errors import ConfigError

__all__ = ["Choice", "Options", "ParserOptions"]


class Options(Protocol):
    """Takes options."""

    def value(
        self, flag: str, read: Callable[[str], Any], default: str | None, metavar: str, text: str, *, short: str = ""
    ) -> None:
        """An option with a value; `default` is read like a value that was given."""
        ...

    def values(self, flag: str, read: Callable[[str], Any], metavar: str, text: str, *, short: str = "") -> None:
        """An option that may be given several times; its variable holds one value on each line."""
        ...

    def choice(self, flag: str, names: Sequence[str], text: str) -> None:
        """An option that may stand alone, for the first of `names`. Its variable may be 1 or 0 as a switch's."""
        ...

    def switch(self, flag: str, text: str, *, short: str = "") -> None:
        """An option without a value."""
        ...


class Choice:
    """Reads one of a few words. Raises `ValueError`."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, text: str) -> str:
        if text not in self.names:
            raise ValueError(f"{text!r} is not one of {', '.join(self.names)}")
        return text


class ParserOptions:
    """Adds options to one command's parser, each with its variable as the default."""

    def __init__(self, parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
        self._parser = parser
        self._environ = environ

    def value(
        self, flag: str, read: Callable[[str], Any], default: str | None, metavar: str, text: str, *, short: str = ""
    ) -> None:
        """An option with a value; `default` is read like a value that was given."""
        variable = _variable(flag)
        given = self._environ.get(variable)
        shown = f" (default {default})" if default is not None else ""
        self._parser.add_argument(
            *([short] if short else []),
            flag,
            type=_named(read, flag),
            default=_read(read, given, variable) if given is not None else None if default is None else read(default),
            metavar=metavar,
            help=(text + shown).replace("%", "%%"),
        )

    def values(self, flag: str, read: Callable[[str], Any], metavar: str, text: str, *, short: str = "") -> None:
        """An option that may be given several times; its variable holds one value on each line."""
        variable = _variable(flag)
        given = self._environ.get(variable, "").splitlines()
        self._parser.add_argument(
            *([short] if short else []),
            flag,
            type=_named(read, flag),
            action=_Collect,
            default=[_read(read, line, variable) for line in given if line],
            metavar=metavar,
            help=text,
        )

    def choice(self, flag: str, names: Sequence[str], text: str) -> None:
        """An option that may stand alone, for the first of `names`. Its variable may be 1 or 0 as a switch's."""
        variable = _variable(flag)
        switches = {"": None, **dict.fromkeys(("0", "no", "false")), **dict.fromkeys(("1", "yes", "true"), names[0])}
        given = self._environ.get(variable, "").lower()
        self._parser.add_argument(
            flag,
            nargs="?",
            const=names[0],
            type=_named(Choice(*names), flag),
            default=switches[given] if given in switches else _read(Choice(*names), given, variable),
            metavar="|".join(names),
            help=text,
        )

    def switch(self, flag: str, text: str, *, short: str = "") -> None:
        """An option without a value."""
        given = self._environ.get(_variable(flag), "")
        if given.lower() not in ("", "0", "1", "no", "yes", "false", "true"):
            raise ConfigError(f"{_variable(flag)}={given!r}: expected 1 or 0")
        self._parser.add_argument(
            *([short] if short else []),
            flag,
            action="store_true",
            default=given.lower() in ("1", "yes", "true"),
            help=text,
        )


class _Collect(argparse.Action):
    """Collects the values of an option; the first on the command line puts those of the variable aside."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: str | None = None) -> None:
        known = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [values] if known is self.default else [*known, values])


def _variable(flag: str) -> str:
    return "FLEETTRACE_" + flag.lstrip("-").replace("-", "_").upper()


def _named(read: Callable[[str], Any], flag: str) -> Callable[[str], Any]:
    def reader(text: str) -> Any:
        return _read(read, text, flag)

    return reader


def _read(read: Callable[[str], Any], text: str, where: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
