"""Read YAML and JSON fast and strictly: duplicate keys are errors, and errors know their line.

PyYAML composes a tree of nodes and then builds values from it; at 10,000 hosts most of that time goes into resolving
tags and into the garbage collector walking the nodes. Here the values are built straight from libyaml's events, which
is about three times as fast. Positions are not kept: `line_of` reads the text again when an error needs one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.yamlerrors import describe, mark_of, too_deep

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_DEPTH", "Unsafe", "Vaulted", "line_of", "read_json", "read_text"]

MAX_DEPTH = 100
"""Levels of lists and mappings: a group inside a group takes two of them, and Python's recursion limit is ten times
higher for those who walk the values."""

MAX_UNFOLDED = 2_000_000
"""Values that the aliases of one file may stand for: two hundred for each of 10,000 hosts."""

_STANDARD = "tag:yaml.org,2002:"
_VAULT_TAGS = frozenset({"!vault", "!vault-encrypted"})
_COLLECTION_TAGS = frozenset(
    {None, "!", "!unsafe", *(_STANDARD + kind for kind in ("map", "seq", "set", "omap", "pairs"))}
)


@dataclass(frozen=True, slots=True)
class Vaulted:
    """A value encrypted by ansible-vault. It is carried along unread, and only an error when it is needed."""


class Unsafe(str):
    """A string tagged `!unsafe`: Ansible never templates it, so braces in it are only braces."""

    __slots__ = ()


class _DuplicateKeyError(Exception):
    pass


def read_text(text: str, file: str) -> Any:
    """The value that `text`, YAML or JSON, holds; None when it is empty. Raises `ConfigError` with `file` and line."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return read_json(text, file)
        except ConfigError:
            pass  # flow style YAML; the YAML reader says what is wrong with it if anything is
    return _read_yaml(text, file)


def read_json(text: str, file: str) -> Any:
    """The value that `text`, strictly JSON, holds. Raises `ConfigError` naming `file` and, for bad syntax, the line."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ConfigError(f"bad JSON: {error.msg}", file=file, line=error.lineno) from None
    except _DuplicateKeyError as error:
        raise ConfigError(f"the key {error.args[0]!r} appears twice in one object: merge the two", file=file) from None
    except RecursionError:  # beyond a thousand levels; from Python 3.12 on beyond some more
        raise ConfigError(too_deep(MAX_DEPTH, "JSON"), file=file) from None
    except ValueError:
        # Python refuses to convert integers of more than 4,300 digits, for that takes quadratic time.
        raise ConfigError(
            "bad JSON: an integer has thousands of digits: quote it if it is a string", file=file
        ) from None
    if _is_too_deep(value):
        raise ConfigError(too_deep(MAX_DEPTH, "JSON"), file=file)
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [one for inner in level for one in (inner.values() if isinstance(inner, dict) else inner)]
    return True


def _object(pairs: list[tuple[str, Any]]) -> Any:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    # The markers of Ansible's own JSON encoder, for what YAML writes as !vault and !unsafe.
    if "__ansible_vault" in made:
        return Vaulted()
    if "__ansible_unsafe" in made:
        return Unsafe(made["__ansible_unsafe"])
    return made


def _read_yaml(text: str, file: str) -> Any:
    import yaml

    try:
        return _Builder(text, file).document()
    except yaml.YAMLError as error:
        mark = mark_of(error)
        raise ConfigError(describe(error, MAX_DEPTH), file=file, line=mark.line + 1 if mark else None) from None


class _Builder:
    """Builds one document's value from libyaml's events, with PyYAML's own rules for plain scalars."""

    def __init__(self, text: str, file: str) -> None:
        import yaml

        loader_class: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._yaml = yaml
        self._text = text
        self._file = file
        self._loader: Any = loader_class(text)
        self._next: Callable[[], Any] = self._loader.get_event
        self._typed_starts = frozenset(loader_class.yaml_implicit_resolvers) | {""}
        self._plain: dict[str, Any] = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        """Each anchor's value, and how many levels it has, those behind aliases included."""
        self._sizes: dict[str, int] = {}
        """Values in each anchor, those that its own aliases stand for included."""
        self._values = 0
        """Values so far, when every alias is written out."""
        self._unfolded = 0
        """Those that only aliases stand for."""
        self._unsafe = 0
        self._depth = self._deepest = self._height = 0

    def document(self) -> Any:
        self._next()
        event = self._next()
        if type(event) is self._yaml.StreamEndEvent:
            return None
        value = self._value(self._next())
        self._next()
        event = self._next()
        if type(event) is not self._yaml.StreamEndEvent:
            raise self._error(event, "bad YAML: a second document begins here: keep one in each file")
        return value

    def _value(self, event: Any) -> Any:
        kind = type(event)
        before = self._values
        self._values += 1
        if kind is self._yaml.ScalarEvent:
            value = self._scalar(event)
        elif kind is self._yaml.AliasEvent:
            if event.anchor not in self._anchors:
                raise self._error(event, f"bad YAML: the alias *{event.anchor} has no anchor before it")
            value, height = self._anchors[event.anchor]
            self._reach(self._depth + height, event)
            self._unfold(event)
            return value
        else:
            value = self._collection(event, kind is self._yaml.MappingStartEvent)
        if event.anchor is not None:
            height = 0 if kind is self._yaml.ScalarEvent else self._height
            self._anchors[event.anchor] = value, height
            self._sizes[event.anchor] = self._values - before
        return value

    def _unfold(self, alias: Any) -> None:
        """Count what an alias stands for. The values are shared here, and written out by whoever looks at them."""
        size = self._sizes[alias.anchor]
        self._values += size
        self._unfolded += size
        if self._unfolded > MAX_UNFOLDED:
            raise self._error(alias, f"bad YAML: the aliases unfold to more than {MAX_UNFOLDED:,} values")

    def _collection(self, event: Any, is_mapping: bool) -> Any:
        if event.tag in _VAULT_TAGS or event.tag not in _COLLECTION_TAGS:
            raise self._error(event, f"bad YAML: the tag {event.tag!r} is not known here")
        outside, self._deepest = self._deepest, 0
        self._depth += 1
        self._reach(self._depth, event)
        self._unsafe += event.tag == "!unsafe"
        value = self._mapping() if is_mapping else self._sequence()
        self._depth -= 1
        self._height = self._deepest - self._depth
        self._deepest = max(outside, self._deepest)
        if is_mapping:
            # Scalars in it were read without `_value`.
            self._values += len(value)
        self._unsafe -= event.tag == "!unsafe"
        return value

    def _reach(self, depth: int, event: Any) -> None:
        if depth > MAX_DEPTH:
            raise self._error(event, too_deep(MAX_DEPTH))
        self._deepest = max(self._deepest, depth)

    def _sequence(self) -> list[Any]:
        items = []
        end = self._yaml.SequenceEndEvent
        while type(event := self._next()) is not end:
            items.append(self._value(event))
        return items

    def _mapping(self) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: list[Any] = []
        end, scalar, following, scalar_value = (
            self._yaml.MappingEndEvent,
            self._yaml.ScalarEvent,
            self._next,
            self._scalar,
        )
        while type(event := following()) is not end:
            if type(event) is scalar and event.anchor is None:
                if event.value == "<<" and event.implicit[0]:
                    merged += self._merge(event)
                    continue
                key = scalar_value(event)
            else:
                key = self._value(event)
            try:
                known = key in own
            except TypeError:
                raise self._error(event, "bad YAML: a list or mapping cannot be a key") from None
            if known:
                raise self._error(event, self._duplicate(key, event))
            event = following()
            own[key] = scalar_value(event) if type(event) is scalar and event.anchor is None else self._value(event)
        if not merged:
            return own
        base: dict[Any, Any] = {}
        for mapping in reversed(merged):
            base |= mapping
        return base | own

    def _merge(self, event: Any) -> list[Any]:
        value = self._value(self._next())
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise self._error(event, "bad YAML: '<<' merges mappings only")
        return mappings

    def _scalar(self, event: Any) -> Any:
        value: str = event.value
        if event.tag is None:
            if not event.implicit[0] or value[:1] not in self._typed_starts:
                return Unsafe(value) if self._unsafe else value
            if value not in self._plain:
                self._plain[value] = self._typed(event, None)
            typed = self._plain[value]
            return Unsafe(typed) if self._unsafe and type(typed) is str else typed
        if event.tag in _VAULT_TAGS:
            return Vaulted()
        if event.tag in ("!unsafe", "!"):
            return Unsafe(value)
        return self._typed(event, event.tag)

    def _typed(self, event: Any, tag: str | None) -> Any:
        """A scalar that may be a number, a truth value, a date, null: as PyYAML's safe constructor has it."""
        node_class = self._yaml.ScalarNode
        tag = tag or self._loader.resolve(node_class, event.value, event.implicit)
        try:
            return self._loader.construct_object(node_class(tag, event.value, event.start_mark, event.end_mark))
        except self._yaml.YAMLError:
            raise self._error(event, f"bad YAML: the tag {tag!r} is not known here") from None
        except (ValueError, OverflowError) as error:
            raise self._error(event, f"bad YAML: {event.value!r}: {error}: quote it if it is a string") from None

    def _duplicate(self, key: Any, event: Any) -> str:
        first = _first_line(self._text, key, event.start_mark)
        where = f" (first on line {first})" if first else ""
        return f"the key {key!r} appears twice in one mapping{where}: merge the two"

    def _error(self, event: Any, message: str) -> ConfigError:
        return ConfigError(message, file=self._file, line=event.start_mark.line + 1)


def line_of(text: str, path: Sequence[object]) -> int | None:
    """The line (1-based) of the innermost key of `path` that `text` has, mappings and list positions alike."""
    node = _compose(text)
    line: int | None = None
    for step in path:
        found = _step(node, step)
        if found is None:
            break
        line, node = found
    return line


def _step(node: Any, step: object) -> tuple[int, Any] | None:
    if not isinstance(getattr(node, "value", None), list):
        return None
    for index, item in enumerate(node.value):
        if isinstance(item, tuple):
            key, value = item
            if getattr(key, "value", None) == str(step):
                return key.start_mark.line + 1, value
        elif index == step:
            return item.start_mark.line + 1, item
    return None


def _first_line(text: str, key: object, again: yaml.Mark) -> int | None:
    """Where the mapping that repeats `key` at the mark `again` has it first."""
    pending, seen = [_compose(text)], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue  # an alias stands for it, too
        seen.add(id(node))
        if not isinstance(getattr(node, "value", None), list):
            continue
        pairs = [item for item in node.value if isinstance(item, tuple)]
        if any(name.start_mark.index == again.index for name, _ in pairs):
            return next((n.start_mark.line + 1 for n, _ in pairs if n.value == str(key)), None)
        pending += [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
    return None


@functools.lru_cache(maxsize=1)
def _compose(text: str) -> Any:
    """The nodes of `text`, kept for the next question: an inventory may earn a hundred warnings."""
    import yaml

    try:
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError):
        return None
