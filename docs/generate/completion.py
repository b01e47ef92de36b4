"""Shell completion: shtab makes a script for each shell from the parser."""

from __future__ import annotations

import argparse
import re

import shtab

from fleettrace.cli.parser import build_parser

__all__ = ["scripts"]

_PLACES = {
    "bash": "bash-completion/completions/fleettrace",
    "zsh": "zsh/site-functions/_fleettrace",
    "fish": "fish/vendor_completions.d/fleettrace.fish",
}
"""Where each shell looks, below share/."""


def scripts() -> dict[str, str]:
    """Return the script of each shell by its path below share/."""
    return {place: shtab.complete(_parser(), shell).rstrip() + "\n" for shell, place in _PLACES.items()}


def _parser() -> argparse.ArgumentParser:
    """Return the parser with what the values of its options are: some words, a file, a directory."""
    parser = build_parser({})
    choices = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in choices.choices.values():
        for action in command._actions:
            _complete(action)
    return parser


def _complete(action: argparse.Action) -> None:
    words = _words(action)
    if words:
        action.choices = words
    elif re.search(r"FILE|DIR", str(action.metavar or "")):
        action.complete = shtab.FILE  # type: ignore[attr-defined]


def _words(action: argparse.Action) -> list[str]:
    """Return the words that an option takes, if it takes only some."""
    read = action.type
    names = getattr(read, "names", ())
    return [str(name) for name in names]
