"""Read one host's variables with types. An error names the place of the value and what is expected there."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping

from fleettrace.errors import ConfigError
from fleettrace.inventory.ansible_config import TRUE_WORDS
from fleettrace.inventory.model import Host
from fleettrace.inventory.resolver import Resolver, is_template
from fleettrace.yaml_reader.values import Vaulted

__all__ = ["Values"]

# As in Ansible (module_utils/parsing/convert_bool.py).
_FALSE = frozenset({"n", "no", "off", "0", "false", "f"})


class Values:
    """The variables of `host`, read with types.

    Each method takes the aliases of one setting, of which the last one that is set counts, and returns None if none is
    set. Each raises `ConfigError` with the place of a value that does not fit.
    """

    def __init__(self, host: Host, resolver: Resolver | None = None) -> None:
        self._host = host
        self._variables = host.variables
        self._resolver = resolver

    def raw(self, *names: str) -> object:
        """Return the value, unchecked."""
        name = self._set_name(names)
        return self._value(name) if name else None

    def text(self, *names: str) -> str | None:
        """Return a string; a number becomes its digits, as in Ansible, and an empty string counts as unset."""
        name = self._set_name(names)
        if name is None:
            return None
        value = self._usable(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.isprintable():
            raise self.error(name, "expected a string, in quotes where YAML needs them")
        return value or None

    def port(self, *names: str) -> int | None:
        """Return a TCP port, from a number or a string of digits."""
        name = self._set_name(names)
        if name is None:
            return None
        value = self._usable(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
            raise self.error(name, "expected a port from 1 to 65535")
        return value

    def seconds(self, *names: str) -> float | None:
        """Return a time in seconds, from a number or a string of digits."""
        text = self.text(*names)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= 86400:
            raise self.error(next(name for name in reversed(names) if name in self._variables), "expected seconds")
        return value

    def truth(self, *names: str) -> bool | None:
        """Return a truth value, from any word that Ansible accepts for one."""
        name = self._set_name(names)
        if name is None:
            return None
        word = str(self._usable(name)).strip().lower()
        if word not in TRUE_WORDS | _FALSE:
            raise self.error(name, "expected true or false")
        return word in TRUE_WORDS

    def choice(self, name: str, choices: Mapping[str, str]) -> str | None:
        """Return the value in `choices` for one of its keys."""
        if self._set_name((name,)) is None:
            return None
        value = self._usable(name)
        if not isinstance(value, str) or value not in choices:
            short = [choice for choice in choices if "." not in choice]
            raise self.error(name, f"expected {' or '.join(short)}, not {value!r}")
        return choices[value]

    def command(self, name: str) -> tuple[str, ...] | None:
        """Return a command as an argument list, from a list or a command line in shell syntax."""
        if self._set_name((name,)) is None:
            return None
        value = self._usable(name)
        words: object = value
        if isinstance(value, str):
            try:
                words = shlex.split(value)
            except ValueError as error:
                raise self.error(name, f"{error} in {value!r}: expected a command line") from None
        if isinstance(words, list) and words and all(isinstance(word, str) and word for word in words):
            return tuple(words)
        raise self.error(name, "expected a command line, such as: toolbox run bpftrace")

    def items(self, name: str) -> Iterator[tuple[object, Callable[[str], ConfigError]]]:
        """Yield the items of a list (or a single value), each with a function that makes an error with its place."""
        if self._set_name((name,)) is None:
            return
        value = self._usable(name)
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            self._refuse_unreadable(name, item)
            yield item, lambda message, index=index: self.error(name, message, index)  # type: ignore[misc]

    def mapping_with(self, key: str, *names: str) -> str | None:
        """Return the string under `key`, if the value is a mapping with that key alone; None for another value."""
        name = self._set_name(names)
        value = self._value(name) if name and isinstance(self._variables[name], dict) else None
        if name is None or not isinstance(value, dict):
            return None
        inner = value.get(key)
        if len(value) != 1 or not isinstance(inner, str) or not inner.strip():
            raise self.error(name, f"expected a string or {{{key}: COMMAND LINE}}")
        self._refuse_unreadable(name, inner)
        return inner

    def _set_name(self, names: tuple[str, ...]) -> str | None:
        """Return the alias that counts."""
        for name in reversed(names):
            if self._variables.get(name) is not None and self._is_set(name):
                return name
        return None

    def _is_set(self, name: str) -> bool:
        """Return whether a variable has a value: a template may leave it unset by `omit`."""
        return not is_template(self._variables[name]) or self._value(name) is not None

    def _value(self, name: str) -> object:
        """Return the value of a variable, resolved; without a resolver, as it is written."""
        return self._variables[name] if self._resolver is None else self._resolver.value(self._host, name)

    def _usable(self, name: str) -> object:
        value = self._value(name)
        self._refuse_unreadable(name, value)
        return value

    def _refuse_unreadable(self, name: str, value: object) -> None:
        if isinstance(value, Vaulted):
            raise self.error(name, "it is encrypted by ansible-vault, and no password is at hand")
        if self._resolver is None and is_template(value):
            raise self.error(name, "it is a Jinja template, and no inventory is at hand to evaluate it")

    def error(self, name: str, message: str, *inside: int) -> ConfigError:
        """Return an error that names the host, the variable and its place in the inventory."""
        origin = self._host.origin(name)
        text = f"{name} of {self._host.name}: {message}"
        return origin.at(*inside).error(text) if origin else ConfigError(text)
