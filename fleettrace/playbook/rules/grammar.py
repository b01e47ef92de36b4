"""The grammar of rules, and its syntax errors: what was expected, what was found, and the nearest known name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from fleettrace.errors import FleettraceError
from fleettrace.playbook.findings import SubjectKind
from fleettrace.playbook.rules.fields import BARE, FIELDS, Field
from fleettrace.report.escape import escape_text

if TYPE_CHECKING:
    from lark import Lark, Token
    from lark.exceptions import UnexpectedInput
    from lark.tree import Tree

__all__ = ["MAX_RULE", "RuleError", "choice", "field_of", "nearest", "parsed"]

MAX_RULE = 1000
"""Characters in the longest rule."""

_GRAMMAR = r"""
    start: either
    either: both (_OR both)*
    both: negated (_AND negated)*
    negated: NOT* (parenthesis | comparison | flag | newcomer | changed)
    parenthesis: "(" either ")"
    comparison: FIELD OPERATOR (QUANTITY TIMES? MEAN? | WORD | STRING)
    flag: FIELD
    newcomer: "new" "key" "in" "top" QUANTITY
    changed: SUBJECT? CHANGE (QUANTITY TIMES?)? "since" "baseline"

    SUBJECT.2: /(key|template|host|fleet\.rate|coverage)(?=\s+(changed|new|gone|risen|fallen|moved)\b)/
    CHANGE.2: /(changed|new(?!\s+[a-z]+\s+in\b)|gone|risen|fallen|moved)\b/
    NOT.2: /not\b/
    _AND.2: /and\b/
    _OR.2: /or\b/
    TIMES: /x\b/
    MEAN: /mean\b/
    FIELD: /[a-z][a-z_]*(\.[a-z_]+)*/
    WORD: /[a-z][a-z-]*/
    OPERATOR: ">=" | "<=" | "==" | "!=" | ">" | "<" | "~"
    QUANTITY: /[0-9][0-9_.,]*(\s*%|[A-Za-z]*(\/[A-Za-z]+)?)/
    STRING: /"[^"\n]*"|'[^'\n]*'/
    %ignore /\s+/
"""

_EXPECTED = {
    "FIELD": "a field such as key.share",
    "OPERATOR": "one of > >= < <= == != ~",
    "QUANTITY": "a number such as 5% or 20k/s",
    "STRING": "a text in quotes",
    "WORD": "a word",
    "LPAR": "(",
    "RPAR": ")",
    "$END": "the end",
    "CHANGE": "a change such as key changed since baseline",
    "SINCE": "since baseline",
}
_RARELY_MEANT = {"TIMES", "SUBJECT", "NOT", "LPAR", "RPAR", "MEAN", "NEW"}
"""Tokens that a message names only when nothing else is expected."""


_KINDS = tuple(kind.value for kind in SubjectKind if kind is not SubjectKind.TOTALS)


class RuleError(FleettraceError):
    """A rule is invalid at `column` (1-based) of `part`, which is `when` or `message`."""

    def __init__(self, message: str, column: int, part: str = "when") -> None:
        self.message = message
        self.column = column
        self.part = part
        super().__init__(message)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr", propagate_positions=True, keep_all_tokens=False)


def parsed(when: str) -> Tree[Token]:
    """Return the parse tree of a rule. Raise `RuleError`."""
    from lark.exceptions import UnexpectedInput

    if len(when) > MAX_RULE:
        raise RuleError(f"the rule is too long: at most {MAX_RULE} characters", MAX_RULE)
    if not when.strip():
        raise RuleError("the rule is empty: expected an expression such as key.share > 5%", 1)
    try:
        return _parser().parse(when)
    except UnexpectedInput as error:
        raise _unexpected(when, error) from None


def _unexpected(when: str, error: UnexpectedInput) -> RuleError:
    """Return the error that names what the parser expected and found."""
    position = error.pos_in_stream if error.pos_in_stream is not None and error.pos_in_stream >= 0 else len(when)
    token = getattr(error, "token", None)
    at_end = token is not None and token.type == "$END"
    position = len(when.rstrip()) if at_end else position
    expected = set(getattr(error, "expected", None) or getattr(error, "allowed", None) or ())
    if "OPERATOR" in expected:
        before = re.search(r"[a-z_.]+\s*$", when[:position])
        if before is not None:
            field_of(before[0].strip(), before.start() + 1, also=_KINDS)
        expected = {"OPERATOR"}
    found = re.match(r"\w+|[^\w\s]+", when[position:])
    found_text = "the end" if at_end or found is None else escape_text(found[0])[:30]
    named = sorted(expected - _RARELY_MEANT) or sorted(expected)
    words = list(dict.fromkeys(_EXPECTED.get(one, one.lower().strip("_")) for one in named))
    return RuleError(f"expected {choice(words)}, found {found_text}", position + 1)


def choice(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def field_of(text: str, column: int, also: Collection[str] = ()) -> Field:
    """Return the field of that name. Raise `RuleError` with the nearest name: a field's, or one of `also`."""
    found = FIELDS.get(text) or BARE.get(text)
    if found is not None:
        return found
    if text in _KINDS:
        raise RuleError(
            f"{text} alone is not a field: expected a field such as {text}.requests, or {text} changed since baseline",
            column,
        )
    group = text.partition(".")[0] + "."
    known = [name for name in FIELDS if name.startswith(group)] or [*FIELDS, *BARE]
    hint = nearest(text, also) or nearest(text, known) or nearest(text, [*FIELDS, *BARE])
    raise RuleError(f"there is no field {escape_text(text)}{hint}", column)
