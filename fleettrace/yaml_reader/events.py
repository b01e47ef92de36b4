"""Read one YAML document from libyaml's events; a subclass of `EventReader` builds the values.

This module holds what both readers share: the bounds of depth and size, anchors and aliases, and the wording of errors.
libyaml bounds the nesting by itself since the copy in PyYAML 6.0.4 (MAX_NESTING_LEVEL, 1,000 levels), and it reads up
to 1,024 characters ahead of its events, so its bound can fire before a reader sees the first level.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from fleettrace.errors import ConfigError

if TYPE_CHECKING:
    import yaml

__all__ = ["STANDARD_TAG", "UNHASHABLE_KEY", "EventReader", "duplicate_key", "too_deep"]

STANDARD_TAG = "tag:yaml.org,2002:"
"""What the tags of YAML 1.1's own types begin with."""

UNHASHABLE_KEY = "bad YAML: a list or mapping cannot be a key"

T = TypeVar("T")


def too_deep(limit: int, syntax: str = "YAML") -> str:
    """Return the message for a text that nests deeper than `limit` levels."""
    return (
        f"bad {syntax}: nested more than {limit} deep: expected at most {limit} levels of lists and mappings; "
        "close the open brackets or flatten the values"
    )


def duplicate_key(key: object, first_line: int | None) -> str:
    """Return the message for a mapping that has `key` twice, the first time on `first_line` (1-based)."""
    first = f" (first on line {first_line})" if first_line else ""
    return f"the key {key!r} appears twice in one mapping{first}: expected each key once"


class _Anchor(NamedTuple):
    """What the aliases of one anchor stand for."""

    value: Any
    levels: int
    """Levels of lists and mappings in the value, those behind its own aliases included."""
    size: int
    """Values in it, those behind its own aliases included."""


class EventReader(ABC, Generic[T]):
    """Read one document. Subclasses set the bounds and build the values; every method raises `ConfigError`."""

    max_depth: int
    """Levels of lists and mappings, those behind aliases included."""
    max_values: float
    """Values in the document, with every alias written out."""
    max_aliased: float
    """Values that only aliases stand for."""

    def __init__(self, text: str, file: str) -> None:
        import yaml

        self._yaml = yaml
        self._loader_class: type[yaml.CSafeLoader] | type[yaml.SafeLoader]
        self._loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._text = text
        self._file = file
        self._anchors: dict[str, _Anchor] = {}
        self._values = self._aliased = 0
        self._depth = self._deepest = 0

    def read(self) -> T | None:
        """Return the value of the document; None when the text holds no document."""
        try:
            # PyYAML's own loader refuses control characters here, libyaml at the first event.
            self._loader: Any = self._loader_class(self._text)
            self._next: Callable[[], Any] = self._loader.get_event
            return self._document()
        except self._yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            raise self._error(mark, _describe(error, self.max_depth)) from None

    @abstractmethod
    def _scalar(self, event: Any) -> T:
        """Return the value of a scalar."""

    @abstractmethod
    def _sequence(self, start: Any) -> T:
        """Return the value of the list that begins with the event `start`; consume its end."""

    @abstractmethod
    def _mapping(self, start: Any) -> T:
        """Return the value of the mapping that begins with the event `start`; consume its end."""

    @abstractmethod
    def _is_known(self, tag: str | None, is_mapping: bool) -> bool:
        """Whether a list or mapping may have this tag."""

    @abstractmethod
    def _error(self, mark: yaml.Mark | None, message: str) -> ConfigError:
        """Return the error at a place in the text; None: the place is not known."""

    def _document(self) -> T | None:
        self._next()
        if type(self._next()) is self._yaml.StreamEndEvent:
            return None
        value = self._value(self._next())
        self._next()
        event = self._next()
        if type(event) is not self._yaml.StreamEndEvent:
            message = "bad YAML: a second document begins here: expected one in each file"
            raise self._error(event.start_mark, message)
        return value

    def _value(self, event: Any) -> T:
        kind = type(event)
        if kind is self._yaml.AliasEvent:
            return self._alias(event)
        before = self._values
        self._count(event, 1)
        if kind is self._yaml.ScalarEvent:
            value, levels = self._scalar(event), 0
        else:
            value, levels = self._collection(event, kind is self._yaml.MappingStartEvent)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(value, levels, self._values - before)
        return value

    def _alias(self, event: Any) -> T:
        """Return the anchor's value itself: it is shared here, and written out by the code that walks the values."""
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            raise self._error(event.start_mark, f"bad YAML: the alias *{event.anchor} has no anchor before it")
        self._count(event, anchor.size)
        self._reach(event, self._depth + anchor.levels)
        self._aliased += anchor.size
        if self._aliased > self.max_aliased:
            message = f"bad YAML: the aliases unfold to more than {self.max_aliased:,} values"
            raise self._error(event.start_mark, message)
        value: T = anchor.value
        return value

    def _collection(self, event: Any, is_mapping: bool) -> tuple[T, int]:
        """Return a list or mapping, and how many levels it has, those behind aliases included."""
        if not self._is_known(event.tag, is_mapping):
            raise self._unknown_tag(event, event.tag)
        outside, self._deepest = self._deepest, 0
        self._depth += 1
        self._reach(event, self._depth)
        value = self._mapping(event) if is_mapping else self._sequence(event)
        levels = self._deepest - self._depth + 1
        self._depth -= 1
        self._deepest = max(outside, self._deepest)
        return value, levels

    def _reach(self, event: Any, depth: int) -> None:
        if depth > self.max_depth:
            raise self._error(event.start_mark, too_deep(self.max_depth))
        self._deepest = max(self._deepest, depth)

    def _count(self, event: Any, values: int) -> None:
        self._values += values
        if self._values > self.max_values:
            message = f"bad YAML: more than {self.max_values:,} values, aliases unfolded"
            raise self._error(event.start_mark, message)

    def _unknown_tag(self, event: Any, tag: str | None) -> ConfigError:
        return self._error(event.start_mark, f"bad YAML: the tag {tag!r} is not known here")


def _describe(error: yaml.YAMLError, max_depth: int) -> str:
    """Return the message for an error of PyYAML or libyaml, the same for every version of them."""
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or str(error) or "cannot be read"
    message = " ".join(str(problem).split())
    # "exceeded maximum nesting depth" today; libyaml gives its errors no codes.
    return too_deep(max_depth) if "nesting" in message else f"bad YAML: {message}"
