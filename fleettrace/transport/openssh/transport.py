"""SSH by the system's own `ssh`, for what only it does: FIDO keys, GSSAPI, host certificates, whatever a site set up.

One `ssh` process a host holds the connection and a control socket; scripts are sessions over it. The handshake, sudo
and the bounds are those of every transport.
"""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

from fleettrace.errors import ConfigError, HostError, HostState
from fleettrace.transport.bootstrap import command_line, readable
from fleettrace.transport.interface import HostKeyPolicy, Limits, Target
from fleettrace.transport.openssh.configuration import arguments, check_words, config_text, site_files, unreadable
from fleettrace.transport.openssh.master import Master
from fleettrace.transport.openssh.mux import MuxPipe
from fleettrace.transport.openssh.private_directory import Answer, PrivateDirectory
from fleettrace.transport.openssh.ssh_errors import failure, login_timeout, trouble_here, unsaved
from fleettrace.transport.session import Session, Sessions

__all__ = ["OpenSshTransport"]


class OpenSshTransport:
    """Reaches hosts with `ssh`. Unknown host keys are refused. One object serves a run, from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logins: _Logins | None = None

    def connect(self, target: Target) -> OpenSshConnection:
        """Log in within `target.connect_timeout` seconds.

        Raises `HostError` (`unreachable`, `auth-failed`, `host-key`), for a faulty ssh_config as well.
        """
        deadline = time.monotonic() + target.connect_timeout
        check_words(target)
        _check_key(target.key_file)
        with self._lock:
            try:
                logins = self._logins = self._logins or _Logins()
            except OSError as error:
                raise trouble_here(error) from None
        return OpenSshConnection(logins, logins.open(target, deadline), target)

    def check(self, file: Path | None) -> None:
        """Have `ssh` read the ssh_config `file`, None for the usual ones, before anything connects.

        Raises `ConfigError`. Where `ssh` cannot be asked, each host's login reports that.
        """
        try:
            paths = site_files(file)
            for path in paths:
                path.open("rb").close()
        except HostError as error:
            raise ConfigError(error.message) from None
        except OSError as error:
            raise unreadable(error) from None
        for path in paths:
            _check_syntax(path)

    def close(self) -> None:
        """End every `ssh` that is left, and remove the control sockets' folder."""
        with self._lock:
            logins, self._logins = self._logins, None
        if logins is not None:
            logins.close()


class _Logins:
    """The logins of a run: the folder that they share, and each while it lasts."""

    def __init__(self) -> None:
        self._folder = PrivateDirectory()
        self._lock = threading.Lock()
        self._masters: set[Master] = set()
        self._closed = False

    def open(self, target: Target, deadline: float) -> Master:
        """Log in."""
        answer: Answer | None = None
        try:
            try:
                answer = None if target.password is None else self._folder.answer(target.password)
                master = self._started(target, answer)
            except OSError as error:
                raise trouble_here(error) from None
            try:
                self._wait(master, target, deadline, answer)
            except BaseException:
                self.end(master)
                raise
            return master
        finally:
            if answer is not None:
                answer.withdraw()

    def _started(self, target: Target, answer: Answer | None) -> Master:
        if target.known_hosts is not None and target.host_key is HostKeyPolicy.ACCEPT_NEW:
            # ssh makes only its own folder, ~/.ssh.
            target.known_hosts.expanduser().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        control, config = self._folder.control(), self._folder.config(config_text(target))
        with self._lock:
            if self._closed:
                raise HostError(HostState.INTERRUPTED, "closed", "the login was given up before it ended")
            master = Master(arguments(target, config, control), control, answer.variables if answer else {})
            self._masters.add(master)
        return master

    def _wait(self, master: Master, target: Target, deadline: float, answer: Answer | None) -> None:
        try:
            logged_in = master.wait(deadline, answer)
        except TimeoutError:
            raise login_timeout(master.words(), target) from None
        if not logged_in:
            raise failure(master.words(), target)
        if error := unsaved(master.words()):
            raise error

    def end(self, master: Master) -> None:
        """Log out."""
        master.close()
        with self._lock:
            self._masters.discard(master)

    def close(self) -> None:
        """End them all, and let no other begin."""
        with self._lock:
            self._closed = True
            masters = list(self._masters)
        for master in masters:
            master.kill()
        self._folder.close()


class OpenSshConnection:
    """A `Connection` by `ssh`."""

    def __init__(self, logins: _Logins, master: Master, target: Target) -> None:
        self._logins = logins
        self._master = master
        self._target = target
        self._sessions = Sessions()

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Session:
        """Run `script` with `sh`, as root where the target says so. Raises `HostError`."""
        become = self._target.become
        seconds = min(limits.seconds, self._target.connect_timeout)

        def connect() -> MuxPipe:
            self._master.forget()
            return MuxPipe(self._master.control, command_line(become), seconds, self._master.broken)

        return self._sessions.start(connect, become, script, limits, keep_shell=keep_shell)

    def close(self) -> None:
        """Close the connection and everything that runs over it. Safe from another thread, and more than once."""
        self._sessions.close()
        self._logins.end(self._master)


def _check_syntax(path: Path) -> None:
    words = ["ssh", "-G", "-F", str(path), "--", "localhost"]
    try:
        asked = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if asked.returncode != 0:
        fault = readable(asked.stderr.strip().split(b"\n")[0]) or f"status {asked.returncode}"
        raise ConfigError(f"`ssh -G -F {path}` refuses it: {fault}: correct the file, or use --transport ssh")


def _check_key(path: Path | None) -> None:
    """The inventory's key must be usable, where ssh would go on without it."""
    if path is None:
        return
    path = path.expanduser()
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise _useless(
            "key-missing", f"key file {path} does not exist: correct `ansible_ssh_private_key_file`"
        ) from None
    except OSError as error:
        raise _useless("key-unreadable", f"key file {path} cannot be read: {error.strerror}") from None


def _useless(code: str, message: str) -> HostError:
    return HostError(HostState.AUTH_FAILED, code, message)
