"""One run at a time for an inventory and a name, so that a schedule that is too tight does not trace a fleet twice.

The lock is the kernel's (flock(2)): it ends with the process that holds it, however that ends, and no file that is left
behind locks anything. What the file says is for people. Locks are a user's own, on one machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fleettrace.errors import BusyError, ConfigError
from fleettrace.text_format import rfc3339

__all__ = ["lock_folder", "run_lock"]


@contextmanager
def run_lock(folder: Path, inventory: str, name: str, command: str) -> Iterator[None]:
    """Hold the lock of `name` for `inventory` while the block runs. `command` is what others are told of it.

    Raises `BusyError` at once when another run holds it, and `ConfigError` where no lock can be had.
    """
    path = folder / _file_name(inventory, name)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write the lock {path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another run of {name!r} is under way for {inventory}{_holder(os.pread(file, 4096, 0))}: wait for its "
                "end, or give this one another --name"
            ) from None
        now = rfc3339(datetime.now(UTC), "seconds")
        _write(file, json.dumps({"pid": os.getpid(), "since": now, "command": command[:2000]}))
        yield
        _write(file, "")
    finally:
        os.close(file)


def lock_folder(environ: Mapping[str, str] = os.environ, candidates: Sequence[Path] | None = None) -> Path:
    """The first folder that is, or can be made, this user's own. Raises `ConfigError`.

    The same for a run from cron and one from a login session, which only the latter has $XDG_RUNTIME_DIR in.
    """
    own = "fleettrace" if os.geteuid() == 0 else f"fleettrace-{os.geteuid()}"
    session = [Path(environ["XDG_RUNTIME_DIR"], "fleettrace")] if environ.get("XDG_RUNTIME_DIR") else []
    places = candidates or [Path("/run/lock", own), *session, Path("/tmp", own)]
    for place in places:
        if _is_our_own(place):
            return place
    raise ConfigError(f"there is no folder for locks: make one of {', '.join(map(str, places))}, for this user alone")


def _is_our_own(folder: Path) -> bool:
    """Whether nobody else could have put a lock, or a link, there."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022


def _file_name(inventory: str, name: str) -> str:
    """Readable, and told apart from every other inventory and name."""
    digest = hashlib.blake2b(f"{inventory}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:60]}-{digest}.lock"


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)


def _holder(content: bytes) -> str:
    """Who holds a lock, as its file says; nothing when that run has only just begun."""
    try:
        said = json.loads(content)
        words = "".join(char if char.isprintable() else "?" for char in f"{said['since']}: {said['command']}")
        return f" (pid {int(said['pid'])}, since {words})"
    except (ValueError, KeyError, TypeError):
        return ""
