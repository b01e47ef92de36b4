"""How a host is reached: run one script there, stream what it prints, always bounded.

A transport opens a `Connection` to a `Target`; a connection runs scripts; a running script is an `Execution`, an
iterator of `Chunk`s. The script travels on standard input behind a small constant bootstrap, so nothing that the
controller or a node chose is ever an argument or a word of a remote shell's command line. Standard input then stays
open while the script runs: a script may read it and take its end as "the controller is gone" (`Execution.stop`
closes it on purpose).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

__all__ = ["Become", "Chunk", "Connection", "Execution", "HostKeyPolicy", "Limits", "Stream", "Target", "Transport"]


class Stream(StrEnum):
    """Which of the two output streams a chunk came from."""

    OUT = "out"
    ERR = "err"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes that a script printed, in order within their stream; at most 32 KiB."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one execution. Past either one the transport ends it and raises `HostError`."""

    seconds: float
    """Wall-clock seconds from the start of the script to its end (state `timeout`, code `script-timeout`)."""
    max_bytes: int
    """Bytes of output, both streams together (state `trace-failed`, code `output-limit`)."""


@dataclass(frozen=True, slots=True)
class Become:
    """How to be root on the host: `sudo -n` without a password, `sudo -S` with one (given only when sudo asks)."""

    password: str | None = field(default=None, repr=False)


class HostKeyPolicy(StrEnum):
    """What to do about a host whose key is not known. A key that changed or was revoked is refused by each."""

    STRICT = "strict"
    ACCEPT_NEW = "accept-new"
    """Believe it this once and write it down, as OpenSSH's `StrictHostKeyChecking accept-new` does."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and as whom to log in. `None` leaves the choice to `~/.ssh/config`, then to SSH's own defaults."""

    name: str
    """The inventory's name of the host. ssh_config's blocks apply if they match it or the address."""
    address: str | None = None
    port: int | None = None
    user: str | None = None
    key_file: Path | None = None
    password: str | None = field(default=None, repr=False)
    become: Become | None = None
    """None: the scripts run as the user who logs in."""
    connect_timeout: float = 10.0
    """Seconds for TCP, key exchange and authentication together."""
    known_hosts: Path | None = None
    """Read instead of the user's and the system's known_hosts files."""
    host_key: HostKeyPolicy = HostKeyPolicy.STRICT
    """For the bastions on the way, too."""
    proxy_jump: str | None = None
    ssh_config: Path | None = None
    """Read instead of `~/.ssh/config` and `/etc/ssh/ssh_config`."""


class Execution(Protocol):
    """A running script. Iterate it for its output; it is over when the iterator ends or raises `HostError`."""

    def __iter__(self) -> Iterator[Chunk]: ...

    @property
    def exit_status(self) -> int | None:
        """The script's exit status once it is over; None while it runs or when a signal ended it.

        A login shell that waits for its command turns signal n into status 128 + n.
        """

    def stop(self) -> None:
        """Close the script's standard input. Safe from another thread, and more than once."""

    def end_within(self, seconds: float) -> None:
        """Give the script no more than `seconds` from now, where its limits gave it more. For the thread that
        iterates, which knows how far the script is."""

    def close(self) -> None:
        """Give up on the script at once and free what it holds. Safe from another thread, and more than once.

        Whoever iterates gets `HostError` (state `interrupted`, code `closed`).
        """


class Connection(Protocol):
    """A logged-in host."""

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Execution:
        """Run `script` with POSIX `sh` (as root where the target says so); return once it has started.

        With `keep_shell`, the shell that runs the script stays for the next one, which saves that script a session and
        a sudo. Only a script that leaves no process behind which reads its standard input may ask for it. Raises
        `HostError` (`become-failed`, `unreachable`), and ValueError for a NUL byte in the script.
        """

    def close(self) -> None:
        """Close the connection and everything that runs over it. Safe from another thread, and more than once."""


class Transport(Protocol):
    """One way of reaching hosts. One object serves all hosts of a run, from many threads."""

    def connect(self, target: Target) -> Connection:
        """Log in within the target's connect timeout.

        Raises `HostError` with state `unreachable` (time ran out included), `auth-failed` or `host-key`; its message
        leaves out the host's name, so that equal failures of many hosts can be told once. Raises `ConfigError` for a
        faulty ssh_config.
        """

    def close(self) -> None:
        """Close what hosts shared (bastion connections). Idempotent."""
