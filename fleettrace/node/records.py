"""Read the reports of our scripts on a node: `tag NUL value NUL`, so that a value may hold any other byte.

Between the records of a trace stands bpftrace's output, opened by the record `trace` and closed by one NUL, a byte
that bpftrace's text output never holds (its strings end at it).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fleettrace.node.plausible import MAX_INSTANCES, ImplausibleError

__all__ = ["Record", "RecordReader", "read_records"]

MAX_TAG = 64
"""Bytes of the longest accepted tag; ours have 20."""
MAX_VALUE = 1 << 22
"""Bytes of the longest accepted value: four times what `docker ps` prints of 10,000 containers."""
MAX_RECORDS = 24 * MAX_INSTANCES
"""Records of one report: discovery needs a dozen for each instance."""
MAX_BYTES = 1 << 25
"""Bytes of all the values of one report."""


class Record(NamedTuple):
    """One record of a script's report."""

    tag: str
    value: bytes


class RecordReader:
    """Splits a stream into records and the raw part between `trace` and the next NUL, in linear time."""

    def __init__(self) -> None:
        self._pending = bytearray()
        """The received part of an incomplete tag or value."""
        self._raw = False
        self._tag: str | None = None
        self._records = 0
        self._bytes = 0

    def feed(self, data: bytes) -> Iterable[Record | bytes]:
        """Yield the records and raw bytes that `data` completes, in order.

        Raises `ImplausibleError` for a tag or value above the bounds, and for more records than any of our scripts
        reports.
        """
        position = 0
        while position < len(data):
            end = data.find(b"\0", position)
            if self._raw:
                raw = data[position : None if end < 0 else end]
                if raw:
                    yield raw
                self._raw = end < 0
            else:
                self._take(data[position : None if end < 0 else end])
                if end >= 0 and (record := self._complete()):
                    self._raw = record.tag == "trace"
                    yield record
            if end < 0:
                return
            position = end + 1

    def _take(self, part: bytes) -> None:
        self._pending += part
        self._bytes += len(part)
        most, what = (MAX_TAG, "tag") if self._tag is None else (MAX_VALUE, "value")
        if len(self._pending) > most:
            raise ImplausibleError(f"a {what} of more than {most} bytes in a report")
        if self._bytes > MAX_BYTES:
            raise ImplausibleError(f"a report of more than {MAX_BYTES} bytes")

    def _complete(self) -> Record | None:
        """Return the record at the end of its value; None at the end of a tag."""
        value = bytes(self._pending)
        self._pending.clear()
        if self._tag is None:
            self._tag = value.decode("ascii", "replace")
            return None
        self._records += 1
        if self._records > MAX_RECORDS:
            raise ImplausibleError(f"more than {MAX_RECORDS} records in a report")
        record, self._tag = Record(self._tag, value), None
        return record


def read_records(data: bytes) -> list[Record]:
    """Return the records of a complete report without a raw part. Raises `ValueError` for one without `end`."""
    reader = RecordReader()
    records = [item for item in reader.feed(data) if isinstance(item, Record)]
    if not records or records[-1].tag != "end":
        raise ValueError("the report breaks off before its end")
    return records
