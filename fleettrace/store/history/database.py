"""The history of runs: one SQLite file, which several processes may use at once, and any of them may be killed.

A run is written in one transaction, so it is stored completely or not at all if the writer is killed. With the
write-ahead log, readers see the runs from when they began and never wait. The history does not change a file of another
program, of a newer version, or a damaged one.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from fleettrace.errors import ConfigError
from fleettrace.store.history.alike import Likeness
from fleettrace.store.history.lines import HostPoint, KeyPoint, RunLine
from fleettrace.store.history.model import StoredRun
from fleettrace.store.history.retention import Retention
from fleettrace.store.history.rows import delete_run, insert_run, select_run
from fleettrace.store.history.schema import check, check_file, migrate
from fleettrace.store.runfile.codec import run_of
from fleettrace.summary.key import Key

__all__ = ["History", "default_path"]

_BUSY_S = 30.0
"""How long to wait for another process to finish writing, in seconds: writing a run takes well below one."""

_ALL = Retention()

_CANNOT_READ = (zlib.error, KeyError, TypeError, ValueError, IndexError, AttributeError)
"""Exceptions from a damaged row."""


def default_path() -> Path:
    """Return the default path of the history."""
    if os.geteuid() == 0:
        return Path("/var/lib/fleettrace/history.db")
    return Path("~/.local/share/fleettrace/history.db").expanduser()


class History:
    """An open history. Its methods raise `ConfigError` when the file cannot be read or written."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, tightened: bool = False) -> None:
        self.path = path
        self.tightened = tightened
        """Other users could read the file until it was opened."""
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, create: bool = False, wait_s: float = _BUSY_S) -> History:
        """Open the history at `path`. A missing file is created with `create`, else `ConfigError` is raised."""
        tightened = False
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                # Keys can be private. The other files of SQLite get the mode of this one.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                tightened = _tighten(path)
            check_file(path)
        except FileNotFoundError:
            raise ConfigError("there is no history yet: `fleettrace run` creates it", file=path) from None
        except OSError as error:
            raise ConfigError(f"cannot open the history: {error.strerror}", file=path) from None
        with _translated_errors(path):
            place = f"file:{quote(str(path.absolute()))}?mode=rw"
            connection = sqlite3.connect(place, uri=True, timeout=wait_s, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                _prepare(connection, path, time.monotonic() + wait_s)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection, tightened=tightened)

    def add(self, run: StoredRun, retention: Retention = _ALL, *, now: datetime | None = None) -> None:
        """Store a run, replace one with the same id, and delete the runs beyond `retention`."""
        with self._transaction("IMMEDIATE"):
            insert_run(self._connection, run)
            deleted = self._prune(retention, now or datetime.now(UTC))
        if deleted:
            # Return the free space to the file system. Nothing is lost if this fails or is killed.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA incremental_vacuum").fetchall()

    def load(self, run: str) -> StoredRun:
        """Return the run with this id. Raises `ConfigError` when there is none."""
        with self._transaction("DEFERRED"):
            row = self._connection.execute("SELECT id FROM runs WHERE run = ?", (run,)).fetchone()
            if row is None:
                raise ConfigError(f"run {run} is no longer stored: see `fleettrace history`", file=self.path)
            return select_run(self._connection, row["id"])

    def find(self, name: str) -> str:
        """Return the id of the run with this id or beginning of an id; `last` is the newest run, `last~2` the second
        before it. Raises `ConfigError`."""
        back = re.fullmatch(r"last(?:~([0-9]{1,6}))?", name)
        with self._transaction("DEFERRED"):
            if back is not None:
                row = self._connection.execute(
                    "SELECT run FROM runs ORDER BY id DESC LIMIT 1 OFFSET ?", (int(back[1] or 0),)
                ).fetchone()
                if row is None:
                    number = self._connection.execute("SELECT count(*) FROM runs").fetchone()[0]
                    raise ConfigError(f"there is no run {name}: the history has {number}", file=self.path)
                return str(row["run"])
            rows = self._connection.execute(
                "SELECT run FROM runs WHERE substr(run, 1, length(?1)) = ?1 ORDER BY run <> ?1, id LIMIT 4",
                (name,),
            ).fetchall()
        found = [str(row["run"]) for row in rows]
        if not found:
            raise ConfigError(
                f"no stored run and no file has the name {name!r}: expected an id or its beginning (see `fleettrace "
                "history`), last, last~1, or a run file",
                file=self.path,
            )
        if len(found) > 1 and found[0] != name:
            raise ConfigError(f"{name!r} is the beginning of several runs: {', '.join(found)}", file=self.path)
        return found[0]

    def earlier(self, playbook: str, run: str = "") -> list[tuple[str, Likeness]]:
        """Return the runs of a play that were stored before `run`, the newest first; all of them, when it is not
        stored."""
        rows = self._rows(
            "SELECT run, playbook, playbook_file, inventory, document FROM runs WHERE playbook = ?1 AND id < "
            "coalesce((SELECT id FROM runs WHERE run = ?2), 9223372036854775807) ORDER BY id DESC",
            (playbook, run),
        )
        return [(str(row["run"]), _likeness(row)) for row in rows]

    def traced(self, host: str) -> list[str]:
        """Return the runs that counted requests of the host, at least in part, the newest first."""
        rows = self._rows(
            "SELECT runs.run FROM hosts JOIN runs ON runs.id = hosts.run WHERE host = ?1 "
            "AND (requests IS NOT NULL OR state = 'no-instances') ORDER BY runs.id DESC",
            (host,),
        )
        return [str(row["run"]) for row in rows]

    def runs(self, last: int, *, playbook: str | None = None) -> list[RunLine]:
        """Return the newest runs, the newest last."""
        rows = self._rows(
            "SELECT runs.*, data, length, requests FROM runs "
            "LEFT JOIN keys ON keys.run = runs.id AND keys.place = 0 LEFT JOIN names ON names.id = keys.name "
            "WHERE ?2 IS NULL OR playbook = ?2 ORDER BY runs.id DESC LIMIT ?1",
            (last, playbook),
        )
        return [
            RunLine(
                row["run"],
                _time(row["started"]),
                row["playbook"],
                row["pattern"],
                row["hosts"],
                row["hosts_ok"],
                row["total"],
                row["rate"],
                row["distinct_keys"],
                None if row["data"] is None else Key(row["data"], row["length"]),
                row["requests"] or 0,
            )
            for row in reversed(rows)
        ]

    def playbooks(self) -> list[str]:
        """Return the plays with stored runs, sorted, each as `PLAYBOOK/PLAY`."""
        rows = self._rows("SELECT DISTINCT playbook FROM runs WHERE playbook <> '' ORDER BY playbook", ())
        return [str(row["playbook"]) for row in rows]

    def key_timeline(self, data: bytes, last: int, *, playbook: str | None = None) -> list[KeyPoint]:
        """Return the key in each of the newest runs, the newest last."""
        rows = self._rows(
            "WITH it AS (SELECT id FROM names WHERE data = ?2 ORDER BY length LIMIT 1) "
            "SELECT runs.run, started, place, requests, requests_max, total, rate, absent FROM runs "
            "LEFT JOIN keys ON keys.run = runs.id AND keys.name = (SELECT id FROM it) "
            "WHERE ?3 IS NULL OR playbook = ?3 ORDER BY runs.id DESC LIMIT ?1",
            (last, data, playbook),
        )
        points = []
        for row in reversed(rows):
            stored = row["place"] is not None
            requests = row["requests"] if stored else 0
            share = requests / row["total"] if stored and row["total"] else None
            rate = share * row["rate"] if share is not None and row["rate"] is not None else None
            place = row["place"] + 1 if stored else None
            most = row["requests_max"] if stored else row["absent"]
            if not most and row["total"]:
                # At most no request is none.
                share, rate = 0.0, None if row["rate"] is None else 0.0
            points.append(KeyPoint(row["run"], _time(row["started"]), place, requests, most, share, rate))
        return points

    def host_timeline(self, host: str, last: int, *, playbook: str | None = None) -> list[HostPoint]:
        """Return the host in each of the newest runs that selected it, the newest last."""
        rows = self._rows(
            "SELECT runs.run, started, state, requests, total, hosts.rate FROM hosts JOIN runs ON runs.id = hosts.run "
            "WHERE host = ?2 AND (?3 IS NULL OR playbook = ?3) ORDER BY runs.id DESC LIMIT ?1",
            (last, host, playbook),
        )
        return [
            HostPoint(
                row["run"],
                _time(row["started"]),
                row["state"],
                row["requests"],
                row["requests"] / row["total"] if row["requests"] is not None and row["total"] else None,
                row["rate"],
            )
            for row in reversed(rows)
        ]

    def __enter__(self) -> History:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def _prune(self, retention: Retention, now: datetime) -> int:
        """Delete the runs beyond the limits, the oldest first; return their number."""
        rows = self._connection.execute("SELECT id, started FROM runs ORDER BY id").fetchall()
        excess = 0 if retention.runs is None else len(rows) - retention.runs
        aged = retention.aged([_time(row["started"]) for row in rows], now)
        deleted = 0
        for place, row in enumerate(rows[:-1]):
            if place >= max(aged, excess) and (retention.size is None or self._used() <= retention.size):
                break
            delete_run(self._connection, row["id"])
            deleted += 1
        return deleted

    def _used(self) -> int:
        """Return the bytes in use."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _rows(self, question: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        with _translated_errors(self.path):
            return self._connection.execute(question, values).fetchall()

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        with _translated_errors(self.path):
            self._connection.execute(f"BEGIN {kind}")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _prepare(connection: sqlite3.Connection, path: Path, until: float) -> None:
    """Create or migrate the database. Several processes may do this at once."""
    if check(connection, path) == 0:
        # This has an effect only on a database without tables, but writes to any.
        _retry_while_busy(lambda: connection.execute("PRAGMA auto_vacuum = INCREMENTAL"), until)
        # Unlike other statements, changing the journal mode does not wait for a lock.
        _retry_while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall(), until)
    connection.execute("PRAGMA synchronous = FULL")
    migrate(connection, path)


def _retry_while_busy(act: Callable[[], object], until: float) -> None:
    while True:
        try:
            act()
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as `ConfigError`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if _is_busy(error):
            message = "another process has been writing to the history for too long: try again"
        elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            message = f"the history is damaged ({error}): move the file away, or name another with --store"
        elif code == sqlite3.SQLITE_FULL:
            message = "the disk is full: free some space, or store fewer runs with --keep"
        else:
            message = f"cannot use the history ({error}): check its permissions, or name another with --store"
        raise ConfigError(message, file=path) from None
    except _CANNOT_READ as error:
        raise ConfigError(
            f"the history is damaged (invalid row: {error!r}): move the file away, or name another with --store",
            file=path,
        ) from None


def _tighten(path: Path) -> bool:
    """Remove other users' permissions on the history, because keys can be private; return whether there were any."""
    found = False
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(OSError):
            mode = stat.S_IMODE(name.stat().st_mode)
            if mode & 0o077:
                name.chmod(mode & 0o700)
                found = True
    return found


def _likeness(row: sqlite3.Row) -> Likeness:
    info = run_of(json.loads(row["document"]))
    return Likeness(row["playbook"], row["playbook_file"], row["inventory"], info.pattern, info.options)


def _time(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp / 1_000_000, UTC)
