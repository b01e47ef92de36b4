"""YAML that nests too deep, in every way that the readers once failed to detect. The tests of all readers use it."""

from __future__ import annotations

__all__ = ["TOO_DEEP", "deep_by_aliases", "first_line_too_deep"]

TOO_DEEP = {
    "brackets on one line": "\n" + "[" * 100_000,
    "brackets on lines": "[\n" * 2000,
    "braces": "\n" + "{a: " * 2000,
    "dashes": "\n" + "- " * 2000,
    "mappings on lines": "\n".join(" " * depth + "a:" for depth in range(1200)),
}


def first_line_too_deep(text: str, limit: int) -> int:
    """Return the line (1-based) of `text`, one of TOO_DEEP, that has level `limit` + 1."""
    return 2 if text.startswith("\n") else limit + 1


def deep_by_aliases(depth: int) -> str:
    """Return YAML of `depth` levels, at most 11 of them nested in the text; aliases make the others."""
    steps = ["a0: &a0 x"] + [f"a{n}: &a{n} {'[' * 10}*a{n - 1}{']' * 10}" for n in range(1, (depth - 1) // 10 + 1)]
    rest = (depth - 1) % 10
    return "\n".join([*steps, f"b: {'[' * rest}*a{len(steps) - 1}{']' * rest}"])
