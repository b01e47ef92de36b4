"""Run scripts on hosts, always bounded: the protocols of transports, and their values.

A transport opens a `Connection` to a `Target`. A connection starts scripts. A running script is an `Execution`, an
iterator of `Chunk`s. The script travels on standard input behind a small constant bootstrap, so that nothing that the
controller or a node chose is an argument or a word in a remote shell's command line. Standard input then stays open
while the script runs: a script may read it, and take its end for a sign that the controller is gone (`Execution.stop`
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
    """The output stream that a chunk came from."""

    OUT = "out"
    ERR = "err"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes that a script printed, in order within their stream; at most 32 KiB."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one execution. Past either one, the transport ends it and raises `HostError`."""

    seconds: float
    """Wall-clock seconds from the start of the script to its end (state `timeout`, code `script-timeout`)."""
    max_bytes: int
    """Bytes of output, both streams together (state `trace-failed`, code `output-limit`)."""


@dataclass(frozen=True, slots=True)
class Become:
    """Become another user on the host. The method gets the password only when it asks for it."""

    method: str = "sudo"
    """`sudo`, `su`, `doas`, `dzdo`, `pbrun` or `run0`."""
    user: str = "root"
    executable: str | None = None
    """None: the method's name, found on the host's PATH."""
    flags: tuple[str, ...] | None = None
    """None: the method's own."""
    password: str | None = field(default=None, repr=False)


class HostKeyPolicy(StrEnum):
    """What to do about a host with an unknown key. Both policies refuse a key that changed or was revoked."""

    STRICT = "strict"
    """Refuse it."""
    ACCEPT_NEW = "accept-new"
    """Accept it and add it to known_hosts, as OpenSSH's `StrictHostKeyChecking accept-new` does."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host, and the user to log in as. A value of None leaves the choice to ssh_config, then to SSH's defaults."""

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
    """The file that replaces the user's and the system's known_hosts files."""
    host_key: HostKeyPolicy | None = None
    """Holds for the bastions on the way as well. None: as `ssh_arguments` and ssh_config say, else strict."""
    ssh_arguments: tuple[str, ...] = ()
    """Options for `ssh`, word by word; of an option that is given twice, the first value counts."""
    ssh_executable: str | None = None
    ssh_config: Path | None = None
    """The file that replaces `~/.ssh/config` and `/etc/ssh/ssh_config`."""


class Execution(Protocol):
    """A running script. Iterate it for its output. It has ended when the iterator ends or raises `HostError`."""

    def __iter__(self) -> Iterator[Chunk]: ...

    @property
    def exit_status(self) -> int | None:
        """The script's exit status once it has ended; None while it runs, or when a signal ended it.

        A login shell that waits for its command turns signal n into status 128 + n.
        """

    def stop(self) -> None:
        """Close the script's standard input. Safe from another thread, and more than once."""

    def end_within(self, seconds: float) -> None:
        """Shorten the script's time limit to `seconds` from now; never extend it. Only for the thread that iterates."""

    def close(self) -> None:
        """End the script at once and free what it holds. Safe from another thread, and more than once.

        The thread that iterates gets `HostError` (state `interrupted`, code `closed`).
        """


class Connection(Protocol):
    """A logged-in host."""

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Execution:
        """Run `script` with POSIX `sh`, as root if the target has `become`; return when it has started.

        With `keep_shell`, the shell that runs the script stays for the next one, which saves that script a session and
        a sudo. Only a script that leaves no process behind which reads its standard input may ask for it. Raises
        `HostError` (`become-failed`, `unreachable`), and ValueError for a NUL byte in the script.
        """

    def close(self) -> None:
        """Close the connection and end its scripts. Safe from another thread, and more than once."""


class Transport(Protocol):
    """One way of reaching hosts. One object serves all hosts of a run, from many threads."""

    def connect(self, target: Target) -> Connection:
        """Log in within the target's connect timeout.

        Raises `HostError` (`unreachable`, also where time ran out, `auth-failed`, `host-key`), and `ConfigError` for a
        faulty ssh_config.
        """

    def close(self) -> None:
        """Close what hosts share (connections to bastions). Safe more than once."""
