"""Text of a node or of a program, made fit to quote in an error."""

from __future__ import annotations

__all__ = ["readable"]


def readable(data: bytes, limit: int = 200) -> str:
    """Return what a node printed as one line of at most `limit` characters that is safe on a terminal."""
    text = " ".join(data.decode("utf-8", "replace").split())
    safe = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."
