"""Filters, tests and lookups of Ansible that templates in an inventory may use, beside Jinja's own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fleettrace.yaml_reader.values import read_text

__all__ = ["FILTERS", "TESTS", "LookupFailureError", "lookup"]

_PIPE_TIMEOUT_S = 60
_MAX_BYTES = 1 << 20
_TRUE = frozenset({"yes", "on", "1", "true"})


class LookupFailureError(Exception):
    """A lookup cannot be answered; the text is why, and what to do."""


def lookup(directories: Iterable[Path], plugin: str, *terms: Any, default: Any = "", **_options: Any) -> Any:
    """Return the answer of `env`, `file` or `pipe`; relative files are below `directories`.

    Raises `LookupFailureError`.
    """
    name = plugin.removeprefix("ansible.builtin.")
    answers: Mapping[str, Callable[[str], str]] = {
        "env": lambda term: os.environ.get(term, default),
        "file": lambda term: _file(term, directories),
        "pipe": _pipe,
    }
    if name not in answers:
        raise LookupFailureError(f"the lookup {plugin!r} is not supported: expected env, file or pipe")
    found = [answers[name](str(term)) for term in terms]
    return found[0] if len(found) == 1 else ",".join(found)


def _file(term: str, directories: Iterable[Path]) -> str:
    path = Path(term).expanduser()
    for directory in directories:
        for candidate in (directory / "files" / path, directory / path):
            if candidate.is_file():
                try:
                    with candidate.open("rb") as stream:
                        return stream.read(_MAX_BYTES).decode("utf-8").rstrip()
                except (OSError, UnicodeDecodeError) as error:
                    raise LookupFailureError(f"the lookup of the file {candidate} failed: {error}") from None
    raise LookupFailureError(f"the lookup found no file {term!r}")


def _pipe(command: str) -> str:
    """Run a command line in a shell, as Ansible does: the author of the inventory wrote it."""
    try:
        done = subprocess.run(
            command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_PIPE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise LookupFailureError(f"the lookup of a command took more than {_PIPE_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise LookupFailureError(f"the command of a lookup ended with status {done.returncode}")
    return done.stdout[:_MAX_BYTES].decode("utf-8", "replace").rstrip()


def _boolean(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return str(value).lower() in _TRUE


def _mandatory(value: Any, message: str = "a mandatory variable is not defined") -> Any:
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        raise LookupFailureError(message)
    return value


def _flags(ignorecase: bool, multiline: bool) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def _regex_replace(
    value: Any, pattern: str = "", replacement: str = "", ignorecase: bool = False, multiline: bool = False
) -> str:
    return re.sub(pattern, replacement, str(value), flags=_flags(ignorecase, multiline))


def _regex_search(value: Any, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    found = re.search(pattern, str(value), _flags(ignorecase, multiline))
    if found is None:
        return None
    if not groups:
        return found[0]
    named = [re.fullmatch(r"\\g?<?(\w+)>?", group) for group in groups]
    names = [name[1] for name in named if name]
    return [found[int(name) if name.isdigit() else name] for name in names]


def _regex_findall(value: Any, pattern: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    return re.findall(pattern, str(value), _flags(ignorecase, multiline))


def _combine(*mappings: Mapping[str, Any], recursive: bool = False) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            both = recursive and isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = _combine(merged[key], value, recursive=True) if both else value
    return merged


def _flatten(values: Iterable[Any], levels: int | None = None) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        if isinstance(value, list) and (levels is None or levels > 0):
            flat += _flatten(value, None if levels is None else levels - 1)
        elif value is not None:
            flat.append(value)
    return flat


def _unique(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _yaml(text: Any) -> Any:
    return read_text(text, "from_yaml") if isinstance(text, str) else text


FILTERS: dict[str, Callable[..., Any]] = {
    "bool": _boolean,
    "mandatory": _mandatory,
    "regex_replace": _regex_replace,
    "regex_search": _regex_search,
    "regex_findall": _regex_findall,
    "regex_escape": lambda value: re.escape(str(value)),
    "b64encode": lambda value: base64.b64encode(str(value).encode()).decode(),
    "b64decode": lambda value: base64.b64decode(value).decode(),
    "basename": lambda value: os.path.basename(str(value)),  # noqa: PTH119
    "dirname": lambda value: os.path.dirname(str(value)),  # noqa: PTH120
    "expanduser": lambda value: str(Path(str(value)).expanduser()),
    "to_json": lambda value: json.dumps(value),
    "from_json": json.loads,
    "from_yaml": _yaml,
    "ternary": lambda value, yes, no, none=None: none if value is None and none is not None else yes if value else no,
    "split": lambda value, separator=None, most=-1: str(value).split(separator, most),
    "combine": _combine,
    "flatten": _flatten,
    "unique": _unique,
    "union": lambda first, second: _unique([*first, *second]),
    "intersect": lambda first, second: _unique(each for each in first if each in second),
    "difference": lambda first, second: _unique(each for each in first if each not in second),
    "quote": lambda value: shlex.quote(str(value)),
    "hash": lambda value, kind="sha1": hashlib.new(kind, str(value).encode()).hexdigest(),
    "dict2items": lambda value: [{"key": key, "value": each} for key, each in value.items()],
    "extract": lambda key, container: container[key],
}

TESTS: dict[str, Callable[..., bool]] = {
    "match": lambda value, pattern: re.match(pattern, str(value)) is not None,
    "search": lambda value, pattern: re.search(pattern, str(value)) is not None,
    "regex": lambda value, pattern: re.search(pattern, str(value)) is not None,
    "contains": lambda values, value: value in values,
    "truthy": bool,
    "falsy": lambda value: not value,
}
