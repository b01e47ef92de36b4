"""What can be taken from `ansible_ssh_common_args`: the jump host, and a warning for everything else in there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

__all__ = ["parse_ssh_args"]


def parse_ssh_args(arguments: Iterable[tuple[str, str]]) -> tuple[str | None, list[str]]:
    """The jump host of ssh options given as (variable, text) pairs, and warnings. As with ssh, the first one counts."""
    jump: str | None = None
    warnings: list[str] = []
    for variable, text in arguments:
        for option, value in _options(text):
            if option.lower() == "proxyjump" and value:
                jump = jump or value
            else:
                warnings.append(
                    f"{variable}: {option} is not honoured: only ProxyJump is; ~/.ssh/config takes the rest"
                )
    return (None if jump and jump.lower() == "none" else jump), warnings


def _options(text: str) -> Iterable[tuple[str, str]]:
    """Option names and values; `-J x` is given as ProxyJump. A word that is no `-o` or `-J` is an option of its own."""
    try:
        words = shlex.split(text)
    except ValueError:
        yield repr(text), ""
        return
    rest = iter(words)
    for word in rest:
        flag, value = word[:2], word[2:]
        if flag not in ("-o", "-J"):
            yield word, ""
            continue
        value = value or next(rest, "")
        if flag == "-J":
            yield "ProxyJump", value
        else:
            name, _, setting = value.strip().replace("=", " ", 1).partition(" ")
            yield name or "-o", setting.strip()
