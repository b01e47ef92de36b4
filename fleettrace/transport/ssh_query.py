"""Ask OpenSSH for the configuration of a host: `ssh -G`, the one reader of ssh_config that is right by definition.

One call takes about 5 ms, so answers are shared: by hosts with the same name and options, and by all hosts where no
line of the configuration depends on the host.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.transport.ssh_config_reader import SYSTEM_CONFIG, include_directory, read_answer
from fleettrace.transport.ssh_errors import unreadable_config
from fleettrace.transport.text import readable

__all__ = ["Answer", "SshQueries", "SshQuery", "config_files"]

_USER_CONFIG = Path("~/.ssh/config")
_TIMEOUT_S = 20.0
"""Seconds for one call: with CanonicalizeHostname it waits for the name server."""
_MAX_BYTES = 1 << 20
_INCLUDE_DEPTH = 16  # READCONF_MAX_DEPTH of OpenSSH's readconf.h

# Keywords with a value that `ssh -G` prints expanded for the host, or that decide which lines apply.
_DEPENDS_ON_HOST = frozenset(
    ("match", "hostname", "proxyjump", "canonicalizehostname", "canonicaldomains", "tag", "hostkeyalias")
)

_ALGORITHMS = ("kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms", "ciphers", "macs")
_NOT_OURS = (
    *("pkcs11provider", "securitykeyprovider", "knownhostscommand", "verifyhostkeydns", "revokedhostkeys"),
    *("proxyusefdpass", "bindaddress", "bindinterface", "hostbasedauthentication", "addressfamily"),
)
"""Multiplexing, keepalive and forwarding are not among them: fleettrace has its own, or no use for them."""

Answer = Mapping[str, tuple[str, ...]]
"""The values of each keyword, which is in lower case."""


@dataclass(frozen=True, slots=True)
class SshQuery:
    """What `ssh` would be given for a login."""

    host: str
    port: int | None = None
    user: str | None = None
    arguments: tuple[str, ...] = ()
    file: Path | None = None
    """None: the user's and the system's files."""
    executable: str = "ssh"


class SshQueries:
    """The answers of a run. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[SshQuery, Answer] = {}
        self._uniform: dict[Path | None, bool] = {}

    def ask(self, query: SshQuery) -> Answer:
        """Return OpenSSH's configuration for a host. Without `ssh` on the controller, a small reader returns it.

        Raises `ConfigError` for a file that cannot be read, or that `ssh` (or the reader) does not accept.
        """
        shared = self._shared(query)
        with self._lock:
            answer = self._answers.get(shared)
        if answer is None:
            answer = _run(shared)
            with self._lock:
                self._answers[shared] = answer
        if shared is not query:
            # As ssh.c: the name is in lower case unless it is an address.
            answer = {**answer, "host": (query.host,), "hostname": (query.host.lower(),)}
        return answer

    def asked(self, query: SshQuery) -> bool:
        """Return whether `ask` has the answer already."""
        shared = self._shared(query)
        with self._lock:
            return shared in self._answers

    def chosen_algorithms(self, answer: Answer, executable: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the algorithms of an answer, by keyword, that differ from OpenSSH's own choice."""
        if not any(keyword in answer for keyword in _ALGORITHMS):
            return ()
        own = self.ask(SshQuery("any-host", file=Path(os.devnull), executable=executable))
        chosen = {keyword: answer[keyword] for keyword in _ALGORITHMS if answer.get(keyword) != own.get(keyword)}
        return tuple((keyword, tuple(value[0].split(","))) for keyword, value in chosen.items() if value)

    def ignored(self, answer: Answer, executable: str = "ssh") -> tuple[str, ...]:
        """Return the keywords of an answer that matter to a login and that fleettrace's own client lacks."""
        own = self.ask(SshQuery("any-host", file=Path(os.devnull), executable=executable))
        return tuple(keyword for keyword in _NOT_OURS if keyword in answer and answer[keyword] != own.get(keyword))

    def check(self, file: Path | None, executable: str = "ssh") -> None:
        """Let `ssh` check a file before the first login. Raises `ConfigError`."""
        self.ask(SshQuery("localhost", file=file, executable=executable))

    def _shared(self, query: SshQuery) -> SshQuery:
        """Return the query with the answer that serves this one too."""
        return replace(query, host="any-host") if self._same_for_all(query) else query

    def _same_for_all(self, query: SshQuery) -> bool:
        if "-J" in query.arguments or any(_depends(*_keyword(word)) for word in query.arguments):
            return False
        with self._lock:
            known = self._uniform.get(query.file)
        if known is None:
            known = all(_uniform(path, include_directory(path), 0) for path in config_files(query.file))
            with self._lock:
                self._uniform[query.file] = known
        return known


def config_files(file: Path | None) -> list[Path]:
    """Return the ssh_config files in use: `file` alone, or the user's and the system's.

    Raises `ConfigError` for a named file that cannot be read.
    """
    if file is None:
        return [path for path in (_USER_CONFIG.expanduser(), SYSTEM_CONFIG) if path.is_file()]
    path = file.expanduser().absolute()
    try:
        path.open("rb").close()
    except OSError as error:
        raise unreadable_config(error) from None
    return [path]


def _uniform(path: Path, directory: Path, depth: int) -> bool:
    """Return whether no line of a file depends on the host. A doubt means that one may."""
    if depth > _INCLUDE_DEPTH:
        return False
    try:
        lines = path.read_text(errors="surrogateescape").splitlines()
    except OSError as error:
        raise unreadable_config(error) from None
    for line in lines:
        keyword, rest = _keyword(line)
        if _depends(keyword, rest):
            return False
        if keyword == "include" and not all(
            _uniform(each, directory, depth + 1) for each in _included(rest, directory)
        ):
            return False
    return True


def _keyword(line: str) -> tuple[str, str]:
    keyword, _, rest = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
    return keyword.strip('"').lower(), rest.strip()


def _depends(keyword: str, value: str) -> bool:
    if keyword == "host":
        return value != "*"
    # `ssh -G` expands the tokens of this one.
    return keyword in _DEPENDS_ON_HOST or (keyword == "userknownhostsfile" and "%" in value)


def _included(patterns: str, directory: Path) -> Iterator[Path]:
    try:
        words = shlex.split(patterns, comments=True)
    except ValueError:
        words = [patterns]
    for word in words:
        path = directory / Path(word).expanduser()
        if any(letter in word for letter in "%$[{"):
            yield Path(os.devnull) / "unknown"
        yield from (each for each in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if each.is_file())


def _run(query: SshQuery) -> Answer:
    files = config_files(query.file)
    if not files and not query.arguments:
        return {"host": (query.host,), "hostname": (query.host.lower(),)}
    argv = [query.executable, "-G", "-T", *query.arguments]
    argv += [] if query.file is None else ["-F", str(files[0])]
    argv += [] if query.port is None else ["-p", str(query.port)]
    argv += [] if query.user is None else ["-l", query.user]
    try:
        done = subprocess.run(
            [*argv, "--", query.host], stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (FileNotFoundError, PermissionError):
        return read_answer(query.host, query.user, query.port, query.arguments, files)
    except OSError as error:
        raise ConfigError(
            f"`{query.executable} -G` cannot be run ({error.strerror}): check `ansible_ssh_executable`"
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"`{query.executable} -G {query.host}` took more than {_TIMEOUT_S:.0f} s: does a `Match exec` or the name "
            "server hang?"
        ) from None
    if b"No user exists for uid" in done.stderr:
        # ssh.c wants a passwd entry. Our own client does without it where HOME and USER are set.
        return read_answer(query.host, query.user, query.port, query.arguments, files)
    if done.returncode != 0:
        fault = readable(b" ".join(done.stderr.strip().split(b"\n")[:1])) or f"status {done.returncode}"
        raise ConfigError(f"`{query.executable} -G` refuses the ssh_config of {query.host}: {fault}: correct it")
    return _parsed(done.stdout[:_MAX_BYTES])


def _parsed(printed: bytes) -> Answer:
    found: dict[str, tuple[str, ...]] = {}
    for line in printed.decode("utf-8", "surrogateescape").splitlines():
        keyword, _, value = line.partition(" ")
        found[keyword.lower()] = (*found.get(keyword.lower(), ()), value)
    return found
