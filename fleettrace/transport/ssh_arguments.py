"""Options for `ssh` from an inventory or ansible.cfg: check them and put them into one form, word by word.

They are given to the system's `ssh` as arguments, never through a shell. Options that would make `ssh` do something
else than log in are refused. Those for an interactive use and for multiplexing have no effect: fleettrace sets its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import ConfigError

__all__ = ["SshArguments", "parse_arguments"]

# From `getopt` in OpenSSH's ssh.c, version 10.0.
_SWITCHES = frozenset("1246AaCfGgKkMNnqsTtVvXxYy")
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
_REFUSED = {
    "D": "a forwarding",
    "L": "a forwarding",
    "R": "a forwarding",
    "W": "a forwarding of standard input (as a bastion: -J)",
    "w": "a tunnel",
    "O": "a control command",
    "Q": "a query",
    "G": "a query",
    "V": "a query",
    "f": "a background process",
    "s": "a subsystem",
    "E": "a log file",
}
_IGNORED = frozenset("12gMNnqtTvSe")


@dataclass(frozen=True, slots=True)
class SshArguments:
    """Checked options."""

    words: tuple[str, ...] = ()
    """Options for `ssh`, without -F."""
    config_file: Path | None = None
    """The file of -F."""


def parse_arguments(words: Sequence[str]) -> SshArguments:
    """Return the options of `words`. Raises `ConfigError` for one that is not an option of a login."""
    kept: list[str] = []
    config_file: Path | None = None
    rest = iter(words)
    for word in rest:
        if len(word) < 2 or word[0] != "-" or word == "--":
            raise ConfigError(f"{word!r} among the options for ssh: expected options alone, such as -o User=ops")
        for position, letter in enumerate(word[1:], 2):
            if letter in _WITH_VALUE:
                value = word[position:] or next(rest, None)
                if value is None:
                    raise ConfigError(f"the option -{letter} for ssh needs a value: add it")
                _refuse(letter)
                if letter == "F":
                    config_file = Path(value).expanduser()
                elif letter not in _IGNORED:
                    kept += [f"-{letter}", value]
                break
            if letter not in _SWITCHES:
                raise ConfigError(f"{word!r} is not an option of ssh: remove it")
            _refuse(letter)
            if letter not in _IGNORED:
                kept.append(f"-{letter}")
    return SshArguments(tuple(kept), config_file)


def _refuse(letter: str) -> None:
    if letter in _REFUSED:
        raise ConfigError(
            f"the option -{letter} for ssh asks for {_REFUSED[letter]}, which a login has no use for: remove it"
        )
