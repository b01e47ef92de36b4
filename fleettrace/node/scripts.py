"""Read the scripts that run on a node, which lie beside this file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["script_text"]


@cache
def script_text(*names: str) -> str:
    """Return the text of one or several scripts, concatenated. Every host of a run gets the same, so it is cached."""
    return "".join(files(__package__).joinpath(name).read_text("utf-8") for name in names)
