"""When a scheduled run starts: the delay of `--splay`, and the lock that keeps a second run of its name out."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fleettrace.app.options import RunOptions
from fleettrace.app.targets import inventory_name
from fleettrace.errors import BusyError, ConfigError
from fleettrace.text_format import rfc3339

__all__ = ["exclusive", "lock_directory", "run_lock", "splay_s"]

_REFUSED = ".refused"
"""The suffix of the marker beside a lock that a run was refused since the lock was taken."""


@contextmanager
def exclusive(options: RunOptions, warn: Callable[[str], None]) -> Iterator[None]:
    """Wait as `--splay` requests, then hold the lock while the block runs. Raises `BusyError` and `ConfigError`."""
    inventory = inventory_name(options)
    name = options.name or _default_name(options)
    if options.splay is not None:
        seconds = splay_s(options.splay, socket.gethostname(), inventory, name)
        if not options.quiet:
            warn(f"waiting {seconds:.0f} s of the {options.splay:g} s of --splay")
        time.sleep(seconds)
    with ExitStack() as stack:
        # cron mails each line: an overlap is worth one mail until the lock is free again.
        mailed = options.quiet and not sys.stderr.isatty()
        command = shlex.join(["fleettrace", *sys.argv[1:]])
        try:
            stack.enter_context(run_lock(lock_directory(), inventory, name, command, mailed=mailed))
        except BusyError as error:
            error.silent = error.repeated and mailed
            raise
        yield


def splay_s(longest_s: float, *names: str) -> float:
    """Return the seconds to wait, from 0 to less than `longest_s`: always the same for the same names.

    Like systemd's RandomizedDelaySec with FixedRandomDelay: a run that is scheduled every fifteen minutes stays fifteen
    minutes apart from the one before.
    """
    digest = hashlib.blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return longest_s * int.from_bytes(digest) / 2**64


def _default_name(options: RunOptions) -> str:
    """Runs of other hosts, or of another part of them, do not exclude each other."""
    return " ".join(word for word in (options.hosts, options.limit, options.shard) if word)


@contextmanager
def run_lock(directory: Path, inventory: str, name: str, command: str, *, mailed: bool = True) -> Iterator[None]:
    """Hold the lock of `name` for `inventory` while the block runs; others' errors show `command`.

    The lock is the kernel's (flock(2)): it ends with the process that holds it, and a file that remains locks nothing.
    Locks are per user and machine. Only a refusal that is `mailed` counts for `BusyError.repeated`. Raises `BusyError`
    at once when another run holds it, and `ConfigError` where no lock can be made.
    """
    path = directory / _file_name(inventory, name)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write the lock {path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another run of {name!r} is under way for {inventory}{_holder(os.pread(file, 4096, 0))}: "
                "wait for its end, or give this one another --name",
                repeated=not _first(path.with_suffix(_REFUSED), mark=mailed),
            ) from None
        path.with_suffix(_REFUSED).unlink(missing_ok=True)
        now = rfc3339(datetime.now(UTC), "seconds")
        _write(file, json.dumps({"pid": os.getpid(), "since": now, "command": command[:2000]}))
        yield
        _write(file, "")
    finally:
        os.close(file)


def lock_directory(environ: Mapping[str, str] = os.environ, candidates: Sequence[Path] | None = None) -> Path:
    """Return the first directory that is private to this user, or can be made so. Raises `ConfigError`.

    /run/lock comes first: a run from cron, without $XDG_RUNTIME_DIR, must use the directory of a login session.
    """
    own = "fleettrace" if os.geteuid() == 0 else f"fleettrace-{os.geteuid()}"
    session = [Path(environ["XDG_RUNTIME_DIR"], "fleettrace")] if environ.get("XDG_RUNTIME_DIR") else []
    places = candidates or [Path("/run/lock", own), *session, Path("/tmp", own)]
    for candidate in places:
        if _is_private(candidate):
            return candidate
    raise ConfigError(f"no directory for locks: make one of {', '.join(map(str, places))} with mode 0700 for this user")


def _is_private(directory: Path) -> bool:
    """Whether only this user can put a lock, or a link, there."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        about = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022


def _file_name(inventory: str, name: str) -> str:
    """A readable name that differs for every inventory and name."""
    digest = hashlib.blake2b(f"{inventory}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:60]}-{digest}.lock"


def _first(marker: Path, *, mark: bool) -> bool:
    """Return whether no refused run was marked since the lock was last taken; create the marker if `mark`."""
    if not mark:
        return not os.path.lexists(marker)
    try:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def _write(file: int, text: str) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)


def _holder(content: bytes) -> str:
    """The holder of a lock, from its file; empty when that run has only just started."""
    try:
        holder = json.loads(content)
        words = "".join(char if char.isprintable() else "?" for char in f"{holder['since']}: {holder['command']}")
        return f" (pid {int(holder['pid'])}, since {words})"
    except (ValueError, KeyError, TypeError):
        return ""
