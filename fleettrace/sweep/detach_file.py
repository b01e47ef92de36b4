"""The file that lists the traces left on hosts, so that another controller can collect them (`--resume`).

JSON, one line for each thing that happened: the run, each trace that was left, each trace that was collected. A reader
skips a line that a killed controller cut off. The values are the package's own types, field by field.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from fleettrace.errors import ConfigError
from fleettrace.probes.model import annotation_types
from fleettrace.summary.run import RunInfo
from fleettrace.sweep.detach_model import DetachedTrace
from fleettrace.text_format import rfc3339

__all__ = ["DetachedRun", "DetachedRunFile", "decode", "encode", "read_detached_run"]

_SCHEMA = "fleettrace/left/2"


@dataclass(frozen=True, slots=True)
class DetachedRun:
    """The contents of such a file: a run, its hosts in order, and the traces that are not collected yet."""

    info: RunInfo
    hosts: tuple[str, ...]
    pending: Mapping[str, DetachedTrace]
    """By host."""


class DetachedRunFile:
    """Writes the file, from many threads, and removes it once every trace is collected."""

    def __init__(self, path: Path, resumed: DetachedRun | None = None) -> None:
        """Make the file, or continue the one that `resumed` was read from. Raises `ConfigError`."""
        self.path = path
        self.failed: str | None = None
        """Why a line could not be written."""
        self._lock = threading.Lock()
        self._pending = set() if resumed is None else set(resumed.pending)
        try:
            flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if resumed is None else 0)
            self._file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise ConfigError(
                "this file lists traces that an earlier run has left: collect them with --resume, or remove the file",
                file=path,
            ) from None
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        if resumed is not None:
            # The last line of a controller that was killed may lack its end.
            self._append(b"\n")

    def write_run(self, info: RunInfo, hosts: Sequence[str]) -> None:
        """Write the first line."""
        self._write({"schema": _SCHEMA, "run": encode(info), "hosts": list(hosts)})

    def write_left(self, trace: DetachedTrace) -> None:
        """Write that a trace was left on its host."""
        with self._lock:
            self._pending.add(trace.host)
        self._write({"left": encode(trace)})

    def write_collected(self, host: str) -> None:
        """Write that the trace of a host was collected, or is gone."""
        with self._lock:
            self._pending.discard(host)
        self._write({"collected": host})

    def _write(self, line: Mapping[str, object]) -> None:
        self._append(json.dumps(line).encode("ascii") + b"\n")

    def _append(self, data: bytes) -> None:
        with self._lock:
            try:
                complete = os.write(self._file, data) == len(data)
            except OSError as error:
                self.failed = f"{self.path} is not complete: {error.strerror}"
                return
        if not complete:
            self.failed = f"{self.path} is not complete: is its disk full?"

    def close(self) -> None:
        """Close the file, and remove it unless it lists a trace that is not collected."""
        os.close(self._file)
        if not self._pending:
            self.path.unlink(missing_ok=True)


def read_detached_run(path: Path) -> DetachedRun:
    """Read such a file. Raises `ConfigError`."""
    try:
        first, *rest = path.read_bytes().split(b"\n")
        head = json.loads(first)
        if head["schema"] != _SCHEMA:
            raise ValueError(f"schema {head['schema']!r}, written by another version of fleettrace")
        info, hosts = decode(RunInfo, head["run"]), tuple(str(host) for host in head["hosts"])
        return DetachedRun(info, hosts, _pending(rest))
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", file=path) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"not a list of traces that were left on hosts ({error})", file=path) from None


def _pending(lines: Sequence[bytes]) -> dict[str, DetachedTrace]:
    """Return the traces that these lines leave uncollected, by host."""
    pending: dict[str, DetachedTrace] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "left" in entry:
            trace = decode(DetachedTrace, entry["left"])
            pending[trace.host] = trace
        elif "collected" in entry:
            pending.pop(str(entry["collected"]), None)
    return pending


def encode(value: Any) -> Any:
    """Return a value of the package's types as JSON values."""
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime():
            return rfc3339(value, "auto")
        case Mapping():
            return {str(key): encode(item) for key, item in value.items()}
        case tuple() | list():
            return [encode(item) for item in value]
        case frozenset():
            return sorted(encode(item) for item in value)
    assert is_dataclass(value), value
    return {each.name: encode(getattr(value, each.name)) for each in fields(value)}


def decode(kind: Any, data: Any) -> Any:
    """Return the value of type `kind` that `encode` wrote. Raises `ValueError`, `KeyError` or `TypeError`."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in parts:
            return None
        (inner,) = (part for part in parts if part is not type(None))
        return decode(inner, data)
    if origin is tuple:
        kinds = [parts[0]] * len(data) if parts[-1] is Ellipsis else parts
        return tuple(decode(each, item) for each, item in zip(kinds, data, strict=True))
    if origin is frozenset:
        return frozenset(decode(parts[0], item) for item in data)
    if origin is not None and issubclass(origin, Mapping):
        return {str(key): decode(parts[1], item) for key, item in data.items()}
    if issubclass(kind, Enum):
        return kind(data)
    if kind is bytes:
        return base64.b64decode(data, validate=True)
    if kind is datetime:
        return datetime.fromisoformat(data)
    if is_dataclass(kind):
        hints = get_type_hints(kind, localns=annotation_types())
        return cast(Callable[..., Any], kind)(
            **{each.name: decode(hints[each.name], data[each.name]) for each in fields(kind)}
        )
    if hasattr(kind, "_fields"):
        return kind(*(decode(hint, item) for hint, item in zip(get_type_hints(kind).values(), data, strict=True)))
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise ValueError(f"{data!r} is not a {kind.__name__}")
    return data
