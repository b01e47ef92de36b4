"""Read a run file: its hosts at once, their counts on demand."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fleettrace.errors import ConfigError
from fleettrace.store.runfile.blocks import add_rows, fingerprints
from fleettrace.store.runfile.codec import host_of, run_of, warn_of
from fleettrace.store.runfile.gzip_members import damaged, read_bytes, read_member, unpack, unpack_index
from fleettrace.store.runfile.writer import SCHEMA
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult, RunInfo, Warn

__all__ = ["Block", "HostRecord", "RunFile", "StoredSummary", "open_file", "read_run_file"]

_PIECE = 1 << 20
_MIN_UNPACKED = 1 << 24
_UNPACKED_RATIO = 16
"""The most bytes of unpacked lines for each byte of the file. fleettrace packs them to a sixth, and counts follow
them."""
_INVALID = (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError)
"""Exceptions from a document that does not follow the schema."""


class Block(NamedTuple):
    """Some rows of an instance, and their position in the file."""

    rows: int
    most: int
    """The largest `requests` among them."""
    excess: int
    """The largest `requests - covered` among them."""
    offset: int
    """Position in the file of the member with keys and counts."""
    size: int
    details_size: int
    """Size of the member with the details, which follows."""


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """One instance's summary, read from the file on demand."""

    path: Path
    id: str
    total: int
    absent: int
    timeline: list[int]
    rows: int
    fingerprints_at: tuple[tuple[int, int], ...]
    """Offsets and sizes of the members."""
    blocks: tuple[Block, ...]

    def summary(self) -> Summary:
        """Return the complete summary. Raises `ConfigError` when the file is damaged."""
        keys: dict[Key, KeyCount] = {}
        with open_file(self.path) as file:
            for block in self.blocks:
                listed, details = self.listed(block, file), self.details(block, file)
                try:
                    add_rows(keys, listed, details)
                except _INVALID as error:
                    raise damaged(self.path, block.offset, f"not a valid block of rows ({error})") from None
        return Summary(self.total, self.absent, keys, list(self.timeline))

    def listed(self, block: Block, file: BinaryIO) -> dict[str, Any]:
        """Return the columns that every merge needs."""
        return self._document(file, block.offset, block.size)

    def details(self, block: Block, file: BinaryIO) -> dict[str, Any]:
        """Return the other columns."""
        return self._document(file, block.offset + block.size, block.details_size)

    def fingerprints(self, file: BinaryIO) -> Iterator[array[int]]:
        """Yield the fingerprints of all rows: sorted, some thousands at a time."""
        for offset, size in self.fingerprints_at:
            try:
                yield fingerprints(unpack_index(read_bytes(file, self.path, offset, size)))
            except ValueError as error:
                raise damaged(self.path, offset, str(error)) from None

    def _document(self, file: BinaryIO, offset: int, size: int) -> dict[str, Any]:
        try:
            return unpack(read_bytes(file, self.path, offset, size))
        except ValueError as error:
            raise damaged(self.path, offset, str(error)) from None


@dataclass(frozen=True)
class HostRecord:
    """The record of one host in one run, from one file."""

    path: Path
    document: dict[str, Any]
    data_at: int
    """Position in the file of the members with its counts."""

    @property
    def run(self) -> str:
        """The id of the run."""
        return str(self.document["run"])

    @property
    def host(self) -> str:
        """The host's name."""
        return str(self.document["host"])

    @cached_property
    def result(self) -> HostResult:
        """The host and its instances. Raises `ConfigError` when the document is invalid."""
        try:
            return host_of(self.document)
        except _INVALID as error:
            raise damaged(self.path, self.data_at, f"the host before it is invalid ({error!r})") from None

    @cached_property
    def warnings(self) -> list[Warn]:
        """Warnings about the host."""
        return [warn_of(each) for each in self.document["warnings"]]

    @cached_property
    def counted(self) -> dict[str, StoredSummary]:
        """The summaries of the counted instances, by id."""
        found, at = {}, self.data_at
        for each in self.document["counted"]:
            index, blocks = [], []
            for size in each["fingerprints"]:
                index.append((at, size))
                at += size
            for block in each["blocks"]:
                sizes = block["size"], block["details_size"]
                blocks.append(Block(block["rows"], block["most"], block["excess"], at, *sizes))
                at += sum(sizes)
            known = each["total"], each["absent"], each["course"], each["rows"]
            found[each["id"]] = StoredSummary(self.path, each["id"], *known, tuple(index), tuple(blocks))
        if at - self.data_at != self.document["size"]:
            raise ValueError("its parts do not add up to its size")
        return found

    @cached_property
    def digest(self) -> str:
        """A hash that identifies the record."""
        return hashlib.sha256(json.dumps(self.document, sort_keys=True).encode()).hexdigest()

    def data(self) -> Iterator[bytes]:
        """Yield the bytes of the members with its counts. Raises `ConfigError` when their checksum is wrong."""
        checksum, at, end = hashlib.sha256(), self.data_at, self.data_at + self.document["size"]
        with open_file(self.path) as file:
            while at < end:
                piece = read_bytes(file, self.path, at, min(_PIECE, end - at))
                checksum.update(piece)
                at += len(piece)
                yield piece
        if checksum.hexdigest() != self.document["sha256"]:
            raise damaged(self.path, self.data_at, f"the counts of {self.host} have a wrong checksum")


@dataclass(frozen=True, slots=True)
class RunFile:
    """A run file, without the counts."""

    path: Path
    hosts: list[HostRecord] = field(default_factory=list)
    runs: list[RunInfo] = field(default_factory=list)
    warnings: list[Warn] = field(default_factory=list)


def read_run_file(path: Path) -> RunFile:
    """Read a run file. Raises `ConfigError` when it cannot be read, is damaged, or incomplete."""
    with open_file(path) as file:
        header = _header(file, path)
        run_file, at, checksum = RunFile(path), header, hashlib.sha256()
        room = max(_MIN_UNPACKED, _UNPACKED_RATIO * file.seek(0, os.SEEK_END))
        while True:
            member = read_member(file, path, at)
            end = at + member.size
            room -= member.unpacked
            if room < 0:
                raise damaged(path, at, "its lines unpack to more than those of any valid run file")
            try:
                if member.document["kind"] == "end":
                    return _ended(run_file, member.document, checksum.hexdigest())
                if member.document["kind"] != "host":
                    raise ValueError(f"expected a host, found {member.document['kind']!r}")
                record = HostRecord(path, member.document, end)
                assert record.run and record.host and record.counted is not None and record.warnings is not None
            except _INVALID as error:
                raise damaged(path, at, f"invalid content ({error!r})") from None
            checksum.update(read_bytes(file, path, at, member.size))
            run_file.hosts.append(record)
            at = end + record.document["size"]


def open_file(path: Path) -> BinaryIO:
    """Open the file for reading. Raises `ConfigError`."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot read the run file: {error.strerror}", file=path) from error


def _header(file: BinaryIO, path: Path) -> int:
    """Check the header and return the position after it. Raises `ConfigError`."""
    try:
        member = read_member(file, path, 0)
    except ConfigError as error:
        file.seek(0)
        if file.read(2) == b"\x1f\x8b":
            raise
        raise ConfigError("this is not a run file: `fleettrace run --save FILE` writes one", file=path) from error
    schema = str(member.document.get("schema"))
    name, _, number = schema.rpartition("/")
    if name != SCHEMA.rpartition("/")[0]:
        raise ConfigError("this is not a run file: `fleettrace run --save FILE` writes one", file=path)
    if schema != SCHEMA:
        ours = SCHEMA.rpartition("/")[2]
        raise ConfigError(
            f"a newer fleettrace wrote this run file: its schema is {number}, and this version reads up to {ours}; "
            "upgrade fleettrace",
            file=path,
        )
    return member.size


def _ended(run_file: RunFile, document: dict[str, Any], checksum: str) -> RunFile:
    """Complete the file if its last line matches the rest. Raises `ValueError`."""
    rows = sum(each["rows"] for record in run_file.hosts for each in record.document["counted"])
    if (document["hosts"], document["rows"]) != (len(run_file.hosts), rows):
        raise ValueError(
            f"expected {document['hosts']} hosts and {document['rows']} rows, found {len(run_file.hosts)} and {rows}"
        )
    if document["sha256"] != checksum:
        raise ValueError("the checksum of the hosts is wrong")
    run_file.runs.extend(run_of(each) for each in document["runs"])
    run_file.warnings.extend(warn_of(each) for each in document["warnings"])
    return run_file
