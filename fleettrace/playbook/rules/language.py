"""Compile the text of a rule; an error names the column and the nearest known name.

lark parses the text; nothing of it is ever evaluated as Python. `docs/rules.md` describes the language for users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleettrace.playbook.findings import Severity, SubjectKind
from fleettrace.playbook.rules.condition import All, Any, Changed, Comparison, Limit, Newcomer, Not, Test
from fleettrace.playbook.rules.fields import Field
from fleettrace.playbook.rules.grammar import RuleError, choice, field_of, nearest, parsed
from fleettrace.playbook.rules.measurements import Unit
from fleettrace.playbook.rules.messages import Message, MessageError, compile_message
from fleettrace.playbook.rules.quantities import EXAMPLES, Quantity, QuantityError, read_quantity
from fleettrace.report.escape import escape_text
from fleettrace.store.diff.compare import FLEET_CHANGE, MIN_CHANGE
from fleettrace.store.diff.model import ChangeKind, ComparedKind

if TYPE_CHECKING:
    from lark import Token
    from lark.tree import Tree

__all__ = ["Rule", "RuleError", "compile_rule"]

_MAX_NEWCOMERS = 1000
"""The history stores the 1,000 hottest keys of a run."""

_MAX_DEPTH = 50
"""Levels of nested parentheses."""

_CHANGES = {"changed": frozenset(ChangeKind)} | {kind.value: frozenset({kind}) for kind in ChangeKind}
_OF_TOTAL = {
    _CHANGES["fallen"]: frozenset({ChangeKind.FALLEN, ChangeKind.GONE}),
    _CHANGES["risen"]: frozenset({ChangeKind.RISEN, ChangeKind.NEW}),
}
"""The total rate that stops has fallen, and one that begins has risen."""
_OF_RUN = {"fleet.rate": ComparedKind.FLEET, "coverage": ComparedKind.COVERAGE}
"""Subjects of changes that belong to the whole run."""
_NUMBERS = ("==", "!=", ">", ">=", "<", "<=")
_TEXTS = ("==", "!=", "~")


@dataclass(frozen=True)
class Rule:
    """A compiled rule."""

    when: str
    name: str
    severity: Severity
    subject: SubjectKind
    test: Test
    message: Message | None
    """None: the message lists the fields."""
    fields: tuple[Field, ...]
    """The fields of the rule and its message, each once."""

    @property
    def needs_baseline(self) -> bool:
        """Return whether the rule needs the previous run: its findings are then events, not states."""
        return any(isinstance(one, Changed | Newcomer) for one in self.test.parts())

    @property
    def least_rise(self) -> float | None:
        """The largest factor among its tests of changes of keys and families; None without such a test."""
        tests = [one.changes if isinstance(one, Newcomer) else one for one in self.test.parts()]
        return max((1 + one.min_change for one in tests if isinstance(one, Changed) and one.of_keys), default=None)

    @property
    def min_changes(self) -> frozenset[float]:
        """Return the smallest change (a share) of each of its tests of changes."""
        return frozenset(one.min_change for one in self.test.parts() if isinstance(one, Changed | Newcomer))


def compile_rule(
    when: str, *, severity: Severity = Severity.MEDIUM, message: str | None = None, name: str | None = None
) -> Rule:
    """Compile `when`. `message` may have fields in braces; `name` defaults to `when`. Raise `RuleError`."""
    tree = parsed(when)
    builder = _Builder()
    test = builder.either(tree.children[0])
    subject = builder.subject or SubjectKind.TOTALS

    def field_named(text: str, column: int) -> Field:
        try:
            found = field_of(text, column)
        except RuleError as error:
            raise RuleError(error.message, column, "message") from None
        if found.kind not in (subject, SubjectKind.TOTALS):
            raise RuleError(
                f"{found.name}: the rule is about {_about(subject)}; its message can have fields of {subject}.* and "
                "totals.*",
                column,
                "message",
            )
        return found

    try:
        words = None if message is None else compile_message(message, field_named)
    except MessageError as error:
        raise RuleError(str(error), error.column, "message") from None
    shown = [one.field for one in test.parts() if isinstance(one, Comparison)] + list(words.fields if words else ())
    fields = tuple({one.name: one for one in shown if not one.name.endswith(".name")}.values())
    called = " ".join(when.split()) if name is None else name
    return Rule(when, escape_text(called), severity, subject, test, words, fields)


def _about(subject: SubjectKind) -> str:
    return "the whole run" if subject is SubjectKind.TOTALS else f"a {subject}"


class _Builder:
    """Turn a parse tree into tests, and determine the kind of subject."""

    def __init__(self) -> None:
        self.subject: SubjectKind | None = None
        self._depth = 0

    def either(self, tree: Tree[Token] | Token) -> Test:
        """Return the test of a branch of the parse tree."""
        tests = tuple(self._both(one) for one in _branches(tree))
        return tests[0] if len(tests) == 1 else Any(tests)

    def _both(self, tree: Tree[Token]) -> Test:
        tests = tuple(self._negated(one) for one in _branches(tree))
        return tests[0] if len(tests) == 1 else All(tests)

    def _negated(self, tree: Tree[Token]) -> Test:
        *nots, last = tree.children
        (inner,) = [one for one in (last,) if not isinstance(one, str)]
        match inner.data:
            case "parenthesis":
                self._depth += 1
                if self._depth > _MAX_DEPTH:
                    raise RuleError(f"too many parentheses within each other: at most {_MAX_DEPTH}", 1)
                test = self.either(inner.children[0])
                self._depth -= 1
            case "comparison":
                test = self._comparison(_tokens(inner))
            case "flag":
                test = self._flag(_tokens(inner)[0])
            case "newcomer":
                test = self._newcomer(_tokens(inner)[0])
            case _:
                test = self._changed(_tokens(inner))
        return Not(test) if len(nots) % 2 else test

    def _about(self, kind: SubjectKind, what: str, column: int) -> None:
        """Set the rule's kind of subject; fields of the run combine with any kind."""
        if kind is SubjectKind.TOTALS:
            return
        if self.subject not in (None, kind):
            raise RuleError(f"{what} is of a {kind}, but the rule is about a {self.subject}: write two rules", column)
        self.subject = kind

    def _named(self, token: Token) -> Field:
        field = field_of(str(token), _column(token))
        self._about(field.kind, field.name, _column(token))
        return field

    def _flag(self, token: Token) -> Test:
        field = self._named(token)
        if field.unit is not Unit.FLAG:
            raise RuleError(
                f"{field.name} alone is not a test: expected an operator after it, such as > or ==",
                _column(token) + len(token),
            )
        return Comparison(field, Unit.FLAG, "==", "yes")

    def _comparison(self, tokens: list[Token]) -> Test:
        field, operator, value = self._named(tokens[0]), tokens[1], tokens[2]
        if field.unit in (Unit.WORD, Unit.TEXT, Unit.FLAG):
            return _of_words(field, operator, value)
        if value.type != "QUANTITY":
            expected = choice([EXAMPLES[unit] for unit in field.units])
            raise RuleError(f"{field.name} is a number: expected {expected}", _column(value))
        if operator == "~":
            raise RuleError(f"~ compares names: expected one of {' '.join(_NUMBERS)}", _column(operator))
        quantity = _quantity(value)
        types = [one.type for one in tokens[3:]]
        if "MEAN" in types:
            return self._times_mean(field, operator, quantity, tokens)
        if "TIMES" in types:
            quantity = Quantity(quantity.number, f"{quantity.suffix}x", f"{quantity.text} x")
        unit = _unit(field, quantity, value)
        return Comparison(field, unit, str(operator), Limit(_as_unit(quantity, unit, value)))

    def _times_mean(self, field: Field, operator: Token, quantity: Quantity, tokens: list[Token]) -> Test:
        """Compare with a multiple of the mean; `host.load` is such a multiple already."""
        value = tokens[2]
        if field.kind is not SubjectKind.HOST:
            raise RuleError(
                "the mean is taken over all hosts: expected a field of host.* before it", _column(tokens[-1])
            )
        if quantity.suffix not in ("", "x"):
            raise RuleError(f"expected a multiple such as 2 x mean, found {quantity.text}", _column(value))
        of_mean = field.unit is not Unit.MULTIPLE
        return Comparison(field, field.unit, str(operator), Limit(quantity.number, of_mean))

    def _newcomer(self, token: Token) -> Test:
        self._about(SubjectKind.KEY, "new key in top", _column(token))
        quantity = _quantity(token)
        number = _as_unit(quantity, Unit.NUMBER, token)
        if number != int(number) or not 1 <= number <= _MAX_NEWCOMERS:
            raise RuleError(f"expected a whole number from 1 to {_MAX_NEWCOMERS}", _column(token))
        return Newcomer(int(number))

    def _changed(self, tokens: list[Token]) -> Test:
        by_type = {token.type: token for token in tokens}
        subject, change, quantity = (by_type.get(name) for name in ("SUBJECT", "CHANGE", "QUANTITY"))
        assert change is not None
        about = None if subject is None else _OF_RUN.get(str(subject))
        kind = SubjectKind.TOTALS if subject is None or about is not None else SubjectKind(str(subject))
        self._about(kind, f"{kind} {change}", _column(subject or change))
        if str(change) == "moved" and subject is not None and kind is not SubjectKind.KEY:
            raise RuleError("only keys move: expected changed, new, gone, risen or fallen", _column(change))
        min_change = FLEET_CHANGE if about is ComparedKind.FLEET else MIN_CHANGE
        if quantity is not None:
            if about is ComparedKind.COVERAGE:
                raise RuleError(
                    "coverage takes no multiple: expected coverage fallen since baseline", _column(quantity)
                )
            if str(change) not in ("risen", "fallen", "changed"):
                raise RuleError(f"{change} takes no multiple: only changed, risen and fallen do", _column(quantity))
            times = _as_unit(_quantity(quantity), Unit.MULTIPLE, quantity)
            if not 1 < times <= 1000:
                raise RuleError("expected a multiple of more than 1x and at most 1000x", _column(quantity))
            min_change = times - 1
        kinds = _CHANGES[str(change)]
        return Changed(kind, _OF_TOTAL.get(kinds, kinds) if about is ComparedKind.FLEET else kinds, min_change, about)


def _branches(tree: Tree[Token] | Token) -> list[Tree[Token]]:
    return [] if isinstance(tree, str) else [one for one in tree.children if not isinstance(one, str)]


def _tokens(tree: Tree[Token]) -> list[Token]:
    from lark import Token

    return [one for one in tree.children if isinstance(one, Token)]


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _quantity(token: Token) -> Quantity:
    try:
        return read_quantity(str(token))
    except QuantityError as error:
        raise RuleError(str(error), _column(token)) from None


def _as_unit(quantity: Quantity, unit: Unit, token: Token) -> float:
    try:
        return quantity.as_unit(unit)
    except QuantityError as error:
        raise RuleError(str(error), _column(token)) from None


def _unit(field: Field, quantity: Quantity, token: Token) -> Unit:
    """Return the unit of the field that the number has; a bare number is a NUMBER where the field has two units."""
    fitting = [unit for unit in field.units if quantity.fits(unit)]
    if not fitting:
        expected = choice([EXAMPLES[unit] for unit in field.units])
        raise RuleError(f"{field.name}: expected {expected}, found {quantity.text}", _column(token))
    if Unit.NUMBER in fitting and Unit.PART in fitting and 0 < quantity.number < 1:
        raise RuleError(
            f"{field.name} can be a part or a number, and {quantity.text} is not a whole number: expected "
            f"{quantity.number * 100:g}%",
            _column(token),
        )
    return Unit.NUMBER if Unit.NUMBER in fitting else fitting[0]


def _of_words(field: Field, operator: Token, value: Token) -> Test:
    if operator not in _TEXTS:
        raise RuleError(f"{field.name} is not a number: expected one of {' '.join(_TEXTS)}", _column(operator))
    if value.type == "QUANTITY":
        raise RuleError(f"{field.name} is not a number: expected a text in quotes", _column(value))
    word = str(value)[1:-1] if value.type == "STRING" else str(value)
    if field.unit is Unit.FLAG:
        known: tuple[str, ...] = ("yes", "no")
    elif field.unit is Unit.TEXT:
        if value.type == "WORD":
            raise RuleError(f'expected a text in quotes: {field.name} {operator} "{word}"', _column(value))
        return Comparison(field, field.unit, str(operator), word)
    else:
        known = field.words
    if operator != "~" and word not in known:
        hint = nearest(word, known)
        raise RuleError(
            f"{escape_text(word)} is not a value of {field.name}: expected one of {', '.join(known)}{hint}",
            _column(value),
        )
    return Comparison(field, field.unit, str(operator), word)
