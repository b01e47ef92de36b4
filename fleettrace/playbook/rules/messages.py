"""The message of a rule: words with fields in braces, filled in for each finding. Pure.

Names are somebody else's bytes: they go in escaped, and are never looked at again for braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from fleettrace.playbook.rules.eval_context import EvalContext, Subject
from fleettrace.playbook.rules.fields import Field, shown_value
from fleettrace.report.escape import escape_text

__all__ = ["Message", "MessageError", "compile_message"]

MAX_MESSAGE = 500
"""Characters in the longest message of a rule."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class MessageError(ValueError):
    """A message cannot be filled in. `column` (from 1 on) says where."""

    def __init__(self, message: str, column: int) -> None:
        self.column = column
        super().__init__(message)


class Message(NamedTuple):
    """A message in pieces: words, and fields to be filled in."""

    pieces: tuple[str | Field, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields named."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Field))

    def filled(self, scene: EvalContext, thing: Subject) -> str:
        """One line for a thing, harmless on any terminal."""
        return "".join(
            piece if isinstance(piece, str) else shown_value(piece.units[piece.unit](scene, thing).seen, piece.unit)
            for piece in self.pieces
        )


def compile_message(text: str, field_named: Callable[[str, int], Field]) -> Message:
    """The message of `text`. `field_named` gives the field of a name at a column, or raises. Raises `MessageError`."""
    if len(text) > MAX_MESSAGE:
        raise MessageError(f"the message is too long: at most {MAX_MESSAGE} characters", MAX_MESSAGE)
    pieces: list[str | Field] = []
    end = 0
    for found in _PIECE.finditer(text):
        pieces.append(escape_text(text[end : found.start()]))
        end = found.end()
        if found[1] is not None:
            pieces.append(field_named(found[1].strip(), found.start(1) + 1))
        elif len(found[0]) == 2:
            pieces.append(found[0][0])
        else:
            raise MessageError(
                f"a lone {found[0]}: expected a field such as {{key.share}}; a brace itself is written twice",
                found.start() + 1,
            )
    pieces.append(escape_text(text[end:]))
    return Message(tuple(piece for piece in pieces if piece != ""))
