"""The scripts that run on a node, beside this file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["script_text"]


@cache
def script_text(*names: str) -> str:
    """The text of a script, or of several, one behind the other; read once: every host of a run gets the same."""
    return "".join(files(__package__).joinpath(name).read_text("utf-8") for name in names)
