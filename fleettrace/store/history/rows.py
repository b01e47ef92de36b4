"""Write a stored run to the history's tables, and read it back."""

from __future__ import annotations

import json
import sqlite3
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from fleettrace.errors import HostState
from fleettrace.store.history.model import StoredKey, StoredRun, StoredTemplate
from fleettrace.store.runfile.codec import (
    host_document,
    host_of,
    run_document,
    run_of,
    warn_document,
    warn_of,
)
from fleettrace.store.runfile.gzip_members import inflated
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult

__all__ = ["delete_run", "insert_run", "micros", "pack_numbers", "select_run", "unpack_numbers"]


def insert_run(connection: sqlite3.Connection, stored: StoredRun) -> None:
    """Insert the run, within the caller's transaction; one with the same id is replaced, and stays at its place."""
    known = connection.execute("SELECT id FROM runs WHERE run = ?", (stored.info.id,)).fetchone()
    if known is not None:
        delete_run(connection, known[0])
    row = (
        None if known is None else known[0],
        stored.info.id,
        stored.playbook,
        _text(run_document(stored.info)),
        micros(stored.info.started),
        stored.info.pattern,
        len(stored.hosts),
        sum(host.state is HostState.OK for host in stored.hosts),
        stored.total,
        stored.rate,
        stored.absent,
        stored.unlisted_max,
        stored.listed,
        stored.distinct,
        pack_numbers(stored.timeline),
        stored.redaction,
        _text([warn_document(warn) for warn in stored.warnings]),
        stored.playbook_file,
        stored.inventory,
    )
    run = connection.execute(f"INSERT INTO runs VALUES (?{', ?' * (len(row) - 1)})", row).lastrowid
    for place, host in enumerate(stored.hosts):
        _insert_host(connection, run, place, host)
    places = {host.host: place for place, host in enumerate(stored.hosts)}
    names = _names(connection, [each.key for each in stored.keys])
    connection.executemany(
        f"INSERT INTO keys VALUES (?{', ?' * 11})",
        (
            (
                *(run, place, names[each.key], each.requests, each.requests_max, each.hosts),
                *(places.get(each.top_host), each.top_requests, None if each.ops is None else _text(each.ops)),
                *(each.misses, each.value_bytes, pack_numbers(each.timeline)),
            )
            for place, each in enumerate(stored.keys)
        ),
    )
    connection.executemany(
        "INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (run, place, each.template, each.requests, each.keys, each.hottest, pack_numbers(each.timeline))
            for place, each in enumerate(stored.templates)
        ),
    )


def _insert_host(connection: sqlite3.Connection, run: int | None, place: int, host: HostResult) -> None:
    document = host_document(host)
    instances = document.pop("instances")
    connection.execute(
        "INSERT INTO hosts VALUES (?, ?, ?, ?, ?, ?, ?)",
        (run, place, host.host, host.state.value, host.requests, host.rate, _packed(document)),
    )
    connection.executemany(
        "INSERT INTO instances VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (run, place, number, each["requests"], each["absent"], each["window_s"], _packed(each))
            for number, each in enumerate(instances)
        ),
    )


def _names(connection: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, int]:
    """Return the row id of each key's name, which many runs share."""
    connection.executemany("INSERT OR IGNORE INTO names VALUES (NULL, ?, ?)", keys)
    find = "SELECT id FROM names WHERE data = ? AND length = ?"
    return {key: connection.execute(find, key).fetchone()[0] for key in keys}


def delete_run(connection: sqlite3.Connection, run: int) -> None:
    """Delete the run, and the names that only it had."""
    connection.execute(
        "DELETE FROM names WHERE id IN (SELECT name FROM keys WHERE run = ?1) "
        "AND NOT EXISTS (SELECT 1 FROM keys WHERE name = names.id AND run <> ?1)",
        (run,),
    )
    for table in ("keys", "templates", "instances", "hosts"):
        connection.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    connection.execute("DELETE FROM runs WHERE id = ?", (run,))


def select_run(connection: sqlite3.Connection, run: int) -> StoredRun:
    """Read the run. Raises `sqlite3.DatabaseError`, or the exceptions of `run_of` for an invalid document."""
    row = connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
    hosts = _select_hosts(connection, run)
    return StoredRun(
        info=run_of(json.loads(row["document"])),
        hosts=tuple(hosts),
        total=row["total"],
        absent=row["absent"],
        unlisted_max=row["hidden"],
        listed=row["listed"],
        distinct=row["distinct_keys"],
        timeline=unpack_numbers(row["course"]),
        keys=tuple(_select_keys(connection, run, [host.host for host in hosts])),
        templates=tuple(_select_templates(connection, run)),
        warnings=tuple(warn_of(each) for each in json.loads(row["warnings"])),
        redaction=row["redaction"],
        playbook=row["playbook"],
        playbook_file=row["playbook_file"],
        inventory=row["inventory"],
    )


def _select_hosts(connection: sqlite3.Connection, run: int) -> list[HostResult]:
    instances: dict[int, list[Any]] = {}
    for place, document in connection.execute(
        "SELECT host, document FROM instances WHERE run = ? ORDER BY host, place", (run,)
    ):
        instances.setdefault(place, []).append(_unpacked(document))
    hosts = connection.execute("SELECT place, document FROM hosts WHERE run = ? ORDER BY place", (run,))
    return [host_of({**_unpacked(document), "instances": instances.get(place, [])}) for place, document in hosts]


def _select_keys(connection: sqlite3.Connection, run: int, hosts: Sequence[str]) -> Iterable[StoredKey]:
    rows = connection.execute(
        "SELECT data, length, requests, requests_max, hosts, top_host, top_requests, ops, misses, value_bytes, course "
        "FROM keys JOIN names ON names.id = keys.name WHERE run = ? ORDER BY place",
        (run,),
    )
    for data, length, requests, most, on_hosts, top_host, top_requests, ops, misses, value_bytes, timeline in rows:
        yield StoredKey(
            key=Key(data, length),
            requests=requests,
            requests_max=most,
            hosts=on_hosts,
            top_host="" if top_host is None else hosts[top_host],
            top_requests=top_requests,
            ops=None if ops is None else json.loads(ops),
            misses=misses,
            value_bytes=value_bytes,
            timeline=unpack_numbers(timeline),
        )


def _select_templates(connection: sqlite3.Connection, run: int) -> Iterable[StoredTemplate]:
    rows = connection.execute(
        "SELECT template, requests, keys, hottest, course FROM templates WHERE run = ? ORDER BY place", (run,)
    )
    for template, requests, keys, hottest, timeline in rows:
        yield StoredTemplate(template, requests, keys, hottest, unpack_numbers(timeline))


def micros(time: datetime) -> int:
    """Return microseconds since 1970, in UTC."""
    return round(time.timestamp() * 1_000_000)


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Pack integers >= 0: the size of each in bytes (1, 2, 4 or 8), then all of them, little endian."""
    if not numbers:
        return b""
    highest = max(numbers)
    kind = "B" if highest < 1 << 8 else "H" if highest < 1 << 16 else "I" if highest < 1 << 32 else "Q"
    packed = array(kind, numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return bytes([packed.itemsize]) + packed.tobytes()


def unpack_numbers(packed: bytes) -> tuple[int, ...]:
    """Unpack the numbers of `pack_numbers`."""
    if not packed:
        return ()
    numbers = array({1: "B", 2: "H", 4: "I", 8: "Q"}[packed[0]], packed[1:])
    if sys.byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def _packed(document: Any) -> bytes:
    return zlib.compress(_text(document).encode("ascii"))


def _unpacked(packed: bytes) -> Any:
    return json.loads(inflated(packed))
