"""Describe an error of PyYAML or libyaml in one sentence, the same sentence for every version of them.

libyaml bounds the nesting by itself since the copy in PyYAML 6.0.4 (MAX_NESTING_LEVEL, 1,000 levels), and it reads up
to 1,024 characters ahead of its events, so its bound can fire before a reader sees the first level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

__all__ = ["describe", "mark_of", "too_deep"]


def too_deep(limit: int, syntax: str = "YAML") -> str:
    """Return the message for a text that nests deeper than `limit` levels."""
    return (
        f"bad {syntax}: nested more than {limit} deep: expected at most {limit} levels of lists and mappings; "
        "close the open brackets or flatten the values"
    )


def describe(error: yaml.YAMLError, limit: int) -> str:
    """Return the message for `error`, without its place; `limit` is the reader's own bound of nesting."""
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or str(error) or "cannot be read"
    words = " ".join(str(problem).split())
    # "exceeded maximum nesting depth" today; libyaml gives its errors no codes.
    return too_deep(limit) if "nesting" in words else f"bad YAML: {words}"


def mark_of(error: yaml.YAMLError) -> yaml.Mark | None:
    """Return where `error` was found, if PyYAML knows."""
    return getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
