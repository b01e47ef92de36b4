"""The form in which our scripts on a node report: `tag NUL value NUL`, so that any byte of a path or name survives.

Between the records of a trace stands what bpftrace prints, opened by the record `trace` and closed by one NUL, a byte
that bpftrace's text output never holds (its strings end at it).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

__all__ = ["Record", "RecordReader", "read_records"]

MAX_VALUE = 1 << 22
"""Bytes in the longest value taken: four times what `docker ps` prints of 10,000 containers."""


class Record(NamedTuple):
    """One record of a script's report."""

    tag: str
    value: bytes


class _State(Enum):
    RECORDS = auto()
    RAW = auto()


class RecordReader:
    """Splits a stream into records and the raw part between `trace` and the next NUL."""

    def __init__(self) -> None:
        self._buffer = b""
        self._state = _State.RECORDS
        self._tag: str | None = None

    def feed(self, data: bytes) -> Iterable[Record | bytes]:
        """The records and raw bytes that `data` completes, in order. Raises `ValueError` on a value without end."""
        self._buffer += data
        while self._buffer:
            if self._state is _State.RAW:
                raw, found, rest = self._buffer.partition(b"\0")
                self._buffer = rest
                if raw:
                    yield raw
                if found:
                    self._state = _State.RECORDS
                continue
            value, found, rest = self._buffer.partition(b"\0")
            if not found:
                if len(value) > MAX_VALUE:
                    raise ValueError(f"a value of more than {MAX_VALUE} bytes")
                return
            self._buffer = rest
            if self._tag is None:
                self._tag = value.decode("ascii", "replace")
                continue
            record, self._tag = Record(self._tag, value), None
            if record.tag == "trace":
                self._state = _State.RAW
            yield record


def read_records(data: bytes) -> list[Record]:
    """The records of a whole report that has no raw part. Raises `ValueError` when it breaks off before `end`."""
    reader = RecordReader()
    records = [item for item in reader.feed(data) if isinstance(item, Record)]
    if not records or records[-1].tag != "end":
        raise ValueError("the report breaks off before its end")
    return records
