"""The history's tables, and the migration of a database from any earlier version.

`PRAGMA user_version` is the number of applied migrations. Never change a migration, only append: databases exist to
which it was applied.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

from fleettrace.errors import ConfigError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "VERSION", "check", "check_file", "migrate"]

APPLICATION_ID = 0x466C7472
"""Identifies databases of fleettrace: the bytes `Fltr` (https://www.sqlite.org/pragma.html#pragma_application_id)."""

_MAGIC = b"SQLite format 3\0"
_HEADER = struct.Struct(">60xI4xI28x")
"""The user version and the application id among the first 100 bytes (https://www.sqlite.org/fileformat.html)."""

_FIRST = (
    # Times are microseconds since 1970 in UTC; timelines are packed by `rows.pack_numbers`.
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, playbook TEXT NOT NULL, document TEXT NOT NULL,
        started INTEGER NOT NULL, pattern TEXT NOT NULL, hosts INTEGER NOT NULL, hosts_ok INTEGER NOT NULL,
        total INTEGER NOT NULL, rate REAL, absent INTEGER NOT NULL, hidden INTEGER NOT NULL, listed INTEGER NOT NULL,
        distinct_keys INTEGER NOT NULL, course BLOB NOT NULL, redaction TEXT NOT NULL, warnings TEXT NOT NULL)""",
    "CREATE INDEX runs_by_start ON runs (started)",
    """CREATE TABLE hosts (
        run INTEGER NOT NULL, place INTEGER NOT NULL, host TEXT NOT NULL, state TEXT NOT NULL, requests INTEGER,
        rate REAL, document BLOB NOT NULL, PRIMARY KEY (run, place)) WITHOUT ROWID""",
    "CREATE INDEX hosts_by_name ON hosts (host, run)",
    """CREATE TABLE instances (
        run INTEGER NOT NULL, host INTEGER NOT NULL, place INTEGER NOT NULL, requests INTEGER, absent INTEGER,
        window_s REAL, document BLOB NOT NULL, PRIMARY KEY (run, host, place)) WITHOUT ROWID""",
    """CREATE TABLE names (
        id INTEGER PRIMARY KEY, data BLOB NOT NULL, length INTEGER NOT NULL, UNIQUE (data, length))""",
    """CREATE TABLE keys (
        run INTEGER NOT NULL, place INTEGER NOT NULL, name INTEGER NOT NULL, requests INTEGER NOT NULL,
        requests_max INTEGER NOT NULL, hosts INTEGER NOT NULL, top_host INTEGER, top_requests INTEGER NOT NULL,
        ops TEXT, misses INTEGER, value_bytes INTEGER, course BLOB NOT NULL,
        PRIMARY KEY (run, place)) WITHOUT ROWID""",
    "CREATE INDEX keys_by_name ON keys (name, run)",
    """CREATE TABLE templates (
        run INTEGER NOT NULL, place INTEGER NOT NULL, template TEXT NOT NULL, requests INTEGER NOT NULL,
        keys INTEGER NOT NULL, hottest INTEGER, course BLOB NOT NULL, PRIMARY KEY (run, place)) WITHOUT ROWID""",
)

_COMPARABLE = (
    # Empty in the runs of a history of version 1, which did not store them.
    "ALTER TABLE runs ADD COLUMN playbook_file TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN inventory TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX runs_by_playbook ON runs (playbook, id)",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _COMPARABLE)
"""The statements of each version, from 1 on."""

VERSION = len(MIGRATIONS)


def check_file(path: Path) -> None:
    """Raise `ConfigError` when the file is not a history of this version or an earlier one. Creates and locks
    nothing."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if not head:
        return
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise _refused(path, "this is not a SQLite database, or its header is damaged")
    _check_numbers(path, *_HEADER.unpack(head))


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Migrate the database to this version, in one transaction. Raises `ConfigError` as `check` does."""
    if check(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it during the wait for the lock.
        for statements in MIGRATIONS[check(connection, path) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the number of applied migrations. Raises `ConfigError` as `check_file` does, which cannot see the contents
    of the write-ahead log."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    _check_numbers(path, version, int(connection.execute("PRAGMA application_id").fetchone()[0]))
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise _refused(path, "this is a database of another program")
    return version


def _check_numbers(path: Path, version: int, application: int) -> None:
    if application not in (0, APPLICATION_ID) or (version and not application):
        raise _refused(path, "this is a database of another program")
    if version > VERSION:
        raise _refused(path, f"a newer fleettrace wrote this history (version {version}, this one knows {VERSION})")


def _refused(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{what}; nothing was changed. Name another file with --store or FLEETTRACE_STORE", file=path)
