"""The message template of a rule: text with fields in braces, filled in for each finding. Pure.

A client chooses the names of keys, so they are inserted escaped, and braces in them are never expanded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from fleettrace.playbook.rules.eval_context import EvalContext, Subject
from fleettrace.playbook.rules.fields import Field, shown_value
from fleettrace.report.escape import escape_text

__all__ = ["Message", "MessageError", "compile_message"]

_MAX_MESSAGE = 500
"""Characters in the longest message of a rule."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class MessageError(ValueError):
    """A message template is invalid at `column` (1-based)."""

    def __init__(self, message: str, column: int) -> None:
        self.column = column
        super().__init__(message)


class Message(NamedTuple):
    """A message template: texts, and fields to fill in."""

    pieces: tuple[str | Field, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Return the fields that it names."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Field))

    def filled(self, context: EvalContext, subject: Subject) -> str:
        """Return the message for `subject`: one line, escaped for a terminal."""
        return "".join(
            piece if isinstance(piece, str) else shown_value(piece.units[piece.unit](context, subject).seen, piece.unit)
            for piece in self.pieces
        )


def compile_message(text: str, field_named: Callable[[str, int], Field]) -> Message:
    """Compile a template. `field_named` returns the field of a name at a column, or raises. Raise `MessageError`."""
    if len(text) > _MAX_MESSAGE:
        raise MessageError(f"the message is too long: at most {_MAX_MESSAGE} characters", _MAX_MESSAGE)
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
                f"a single {found[0]}: expected a field such as {{key.share}}; write a literal brace twice",
                found.start() + 1,
            )
    pieces.append(escape_text(text[end:]))
    return Message(tuple(piece for piece in pieces if piece != ""))
