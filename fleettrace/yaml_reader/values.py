"""Read YAML and JSON into Python values, fast and strictly: a duplicate key is an error, and errors name their line.

PyYAML composes a tree of nodes and builds values from it; at 10,000 hosts it spends most of that time on resolving tags
and in the garbage collector, which walks the nodes. This reader builds the values from libyaml's events, which is about
three times as fast. It stores no locations: `line_of` reads the text again when an error needs one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.events import STANDARD_TAG, UNHASHABLE_KEY, EventReader, duplicate_key, too_deep

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_DEPTH", "MAX_UNFOLDED", "Unsafe", "Vaulted", "dump_yaml", "line_of", "read_json", "read_text"]

MAX_DEPTH = 100
"""Levels of lists and mappings. A group inside a group takes two of them. Python's recursion limit is ten times as
high, so code may walk the values recursively."""

MAX_UNFOLDED = 2_000_000
"""Values that the aliases of one file may stand for: 200 for each of 10,000 hosts."""

_VAULT_TAGS = frozenset({"!vault", "!vault-encrypted"})
_COLLECTION_TAGS = frozenset(
    {None, "!", "!unsafe", *(STANDARD_TAG + kind for kind in ("map", "seq", "set", "omap", "pairs"))}
)


@dataclass(frozen=True, slots=True)
class Vaulted:
    """A value encrypted by ansible-vault."""

    text: str = field(default="", repr=False)
    """As ansible-vault wrote it."""


class Unsafe(str):
    """A string tagged `!unsafe`: Ansible never templates it, so its braces are ordinary characters."""

    __slots__ = ()


class _DuplicateKeyError(Exception):
    pass


def read_text(text: str, file: str, repeated: Callable[[str], None] | None = None) -> Any:
    """Return the value of `text`, YAML or JSON; None when it is empty. Raise `ConfigError` with `file` and line.

    A repeated key is an error, or with `repeated` a warning that this function receives, and the last value counts.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            return read_json(text, file)
        except ConfigError:
            pass  # It may be YAML in flow style; if it is not valid, the YAML reader raises the error.
    return _ValueReader(text, file, repeated).read()


def read_json(text: str, file: str) -> Any:
    """Return the value of `text`, strict JSON. Raise `ConfigError` with `file` and, for a syntax error, the line."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ConfigError(f"bad JSON: {error.msg}", file=file, line=error.lineno) from None
    except _DuplicateKeyError as error:
        message = f"the key {error.args[0]!r} appears twice in one object: expected each key once"
        raise ConfigError(message, file=file) from None
    except RecursionError:  # beyond a thousand levels; from Python 3.12 on beyond some more
        raise ConfigError(too_deep(MAX_DEPTH, "JSON"), file=file) from None
    except ValueError:
        # Python refuses to convert integers of more than 4,300 digits, because that takes quadratic time.
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
        return Vaulted(str(made["__ansible_vault"]))
    if "__ansible_unsafe" in made:
        return Unsafe(made["__ansible_unsafe"])
    return made


def dump_yaml(value: object) -> str:
    """Return a value of plain types as YAML, with mappings in their order."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).removesuffix("\n")


class _ValueReader(EventReader[Any]):
    """Build Python values, with PyYAML's own rules for plain scalars."""

    max_depth = MAX_DEPTH
    max_values = inf
    max_aliased = MAX_UNFOLDED

    def __init__(self, text: str, file: str, repeated: Callable[[str], None] | None) -> None:
        super().__init__(text, file)
        self._repeated = repeated
        self._typed_starts = frozenset(self._loader_class.yaml_implicit_resolvers) | {""}
        self._plain: dict[str, Any] = {}
        self._unsafe = 0

    def _is_known(self, tag: str | None, is_mapping: bool) -> bool:  # noqa: ARG002
        return tag in _COLLECTION_TAGS

    def _error(self, mark: yaml.Mark | None, message: str) -> ConfigError:
        return ConfigError(message, file=self._file, line=mark.line + 1 if mark else None)

    def _collection(self, event: Any, is_mapping: bool) -> tuple[Any, int]:
        self._unsafe += event.tag == "!unsafe"
        value, levels = super()._collection(event, is_mapping)
        self._unsafe -= event.tag == "!unsafe"
        return value, levels

    def _sequence(self, start: Any) -> list[Any]:  # noqa: ARG002
        items = []
        end = self._yaml.SequenceEndEvent
        while type(event := self._next()) is not end:
            items.append(self._value(event))
        return items

    def _mapping(self, start: Any) -> dict[Any, Any]:  # noqa: ARG002
        # An inventory of 10,000 hosts has some 100,000 keys and scalars, which are read without a call of `_value`.
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
                is_duplicate = key in own
            except TypeError:
                raise self._error(event.start_mark, UNHASHABLE_KEY) from None
            if is_duplicate:
                first = _first_line(self._text, key, event.start_mark)
                error = self._error(event.start_mark, duplicate_key(key, first))
                if self._repeated is None:
                    raise error
                self._repeated(f"{error}; the last one counts")
            event = following()
            own[key] = scalar_value(event) if type(event) is scalar and event.anchor is None else self._value(event)
        if merged:
            base: dict[Any, Any] = {}
            for mapping in reversed(merged):
                base |= mapping
            own = base | own
        self._values += len(own)
        return own

    def _merge(self, event: Any) -> list[Any]:
        value = self._value(self._next())
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise self._error(event.start_mark, "bad YAML: '<<' merges mappings only")
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
            return Vaulted(value)
        if event.tag in ("!unsafe", "!"):
            return Unsafe(value)
        return self._typed(event, event.tag)

    def _typed(self, event: Any, tag: str | None) -> Any:
        """Return what PyYAML's safe constructor makes of a scalar: a number, a boolean, a date, null or a string."""
        node_class = self._yaml.ScalarNode
        tag = tag or self._loader.resolve(node_class, event.value, event.implicit)
        try:
            return self._loader.construct_object(node_class(tag, event.value, event.start_mark, event.end_mark))
        except self._yaml.YAMLError:
            raise self._unknown_tag(event, tag) from None
        except (ValueError, OverflowError) as error:
            message = f"bad YAML: {event.value!r}: {error}: quote it if it is a string"
            raise self._error(event.start_mark, message) from None


def line_of(text: str, path: Sequence[object]) -> int | None:
    """Return the line (1-based) of the innermost step of `path` that `text` has; a step is a key or a list index."""
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
    """Return the line (1-based) on which the mapping that repeats `key` at the mark `again` has it first."""
    pending, seen = [_compose(text)], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue  # an alias of a node seen before
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
    """Return the nodes of `text`. The cache serves an inventory with a hundred warnings."""
    import yaml

    try:
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError):
        return None
