"""Shell completion: shtab makes a script for each shell from the parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

import shtab

from fleettrace.app.option_table import COMMANDS
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
    """Return the parser with what the values of its options are: some words, or a file."""
    parser = build_parser({})
    choices = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in choices.choices.items():
        words = {option.name: option.choices for option in COMMANDS[name].options}
        for action in command._actions:
            _complete(action, words.get(action.dest, ()))
    return parser


def _complete(action: argparse.Action, words: Sequence[str]) -> None:
    if words:
        action.choices = words
    elif re.search(r"FILE|DIR", str(action.metavar or "")):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
