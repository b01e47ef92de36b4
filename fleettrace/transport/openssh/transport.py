"""The transport `openssh`: the system's `ssh` logs in, with FIDO keys, GSSAPI, host certificates, a site's ssh_config.

One `ssh` process for each host holds the connection and a control socket. Scripts are sessions over it. The handshake,
sudo and the bounds are those of every transport.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.transport.address_check import check_address
from fleettrace.transport.bootstrap import command_line
from fleettrace.transport.interface import HostKeyPolicy, Limits, Target
from fleettrace.transport.login_options import ask_ssh, host_key_policy
from fleettrace.transport.openssh.configuration import arguments, config_text
from fleettrace.transport.openssh.master import Master
from fleettrace.transport.openssh.mux import MuxPipe
from fleettrace.transport.openssh.private_directory import PasswordPipe, PrivateDirectory
from fleettrace.transport.openssh.stderr import local_error, login_error, timeout_error, unsaved_key_error
from fleettrace.transport.script_errors import ScriptFailure
from fleettrace.transport.session import Session, Sessions
from fleettrace.transport.ssh_errors import SshFailure, config_refused, key_failure
from fleettrace.transport.ssh_query import SshQueries

__all__ = ["OpenSshTransport"]


class OpenSshTransport:
    """Reach hosts with the system's `ssh`. One object serves a run, from many threads."""

    def __init__(self, queries: SshQueries | None = None) -> None:
        self._queries = queries or SshQueries()
        self._lock = threading.Lock()
        self._logins: _Logins | None = None

    def connect(self, target: Target) -> OpenSshConnection:
        """Log in within `target.connect_timeout` seconds.

        Raises `HostError` (`unreachable`, `auth-failed`, `host-key`), also for a faulty ssh_config.
        """
        deadline = time.monotonic() + target.connect_timeout
        check_address(target)
        _check_key(target.key_file)
        with self._lock:
            try:
                logins = self._logins = self._logins or _Logins(self._queries)
            except OSError as error:
                raise local_error(error) from None
        return OpenSshConnection(logins, logins.open(target, deadline), target)

    def check(self, file: Path | None) -> None:
        """Let `ssh` check the ssh_config `file` (None: the user's and the system's) before a login.

        Raises `ConfigError`. Where `ssh` itself cannot run, each host's login reports that.
        """
        self._queries.check(file)

    def close(self) -> None:
        """End every `ssh` and remove the private directory."""
        with self._lock:
            logins, self._logins = self._logins, None
        if logins is not None:
            logins.close()


class _Logins:
    """The logins of a run: their processes, and the directory that they share."""

    def __init__(self, queries: SshQueries) -> None:
        self._queries = queries
        self._directory = PrivateDirectory()
        self._lock = threading.Lock()
        self._masters: set[Master] = set()
        self._closed = False

    def open(self, target: Target, deadline: float) -> Master:
        """Log in."""
        password: PasswordPipe | None = None
        try:
            try:
                password = None if target.password is None else self._directory.password_pipe(target.password)
                master = self._start(target, password)
            except OSError as error:
                raise local_error(error) from None
            try:
                self._wait(master, target, deadline, password)
            except BaseException:
                self.end(master)
                raise
            return master
        finally:
            if password is not None:
                password.remove()

    def _start(self, target: Target, password: PasswordPipe | None) -> Master:
        if target.known_hosts is not None and target.host_key is HostKeyPolicy.ACCEPT_NEW:
            # ssh makes no directory but ~/.ssh.
            target.known_hosts.expanduser().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            policy = host_key_policy(target, ask_ssh(target, self._queries))
            text = config_text(target, policy)
        except ConfigError as error:
            raise config_refused(error) from None
        control, config = self._directory.control(), self._directory.config(text)
        with self._lock:
            if self._closed:
                raise ScriptFailure.CLOSED.error("the controller ended the login early")
            master = Master(arguments(target, policy, config, control), control, password.variables if password else {})
            self._masters.add(master)
        return master

    def _wait(self, master: Master, target: Target, deadline: float, password: PasswordPipe | None) -> None:
        try:
            logged_in = master.wait(deadline, password)
        except TimeoutError:
            raise timeout_error(master.stderr(), target) from None
        if not logged_in:
            raise login_error(master.stderr(), target)
        if error := unsaved_key_error(master.stderr()):
            raise error

    def end(self, master: Master) -> None:
        """Log out."""
        master.close()
        with self._lock:
            self._masters.discard(master)

    def close(self) -> None:
        """End every login, and refuse new ones."""
        with self._lock:
            self._closed = True
            masters = list(self._masters)
        for master in masters:
            master.kill()
        self._directory.close()


class OpenSshConnection:
    """A `Connection` over the system's `ssh`."""

    def __init__(self, logins: _Logins, master: Master, target: Target) -> None:
        self._logins = logins
        self._master = master
        self._target = target
        self._sessions = Sessions()

    def start(self, script: bytes, limits: Limits, *, keep_shell: bool = False) -> Session:
        """As `Connection.start`."""
        become = self._target.become
        seconds = min(limits.seconds, self._target.connect_timeout)

        def connect() -> MuxPipe:
            self._master.clear_stderr()
            return MuxPipe(self._master.control, command_line(become), seconds, self._master.broken)

        return self._sessions.start(connect, become, script, limits, keep_shell=keep_shell)

    def close(self) -> None:
        """As `Connection.close`."""
        self._sessions.close()
        self._logins.end(self._master)


def _check_key(path: Path | None) -> None:
    """Raise `HostError` for an inventory's key that cannot be read: `ssh` would log in without it."""
    if path is None:
        return
    path = path.expanduser()
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise key_failure(SshFailure.KEY_MISSING, path) from None
    except OSError as error:
        raise key_failure(SshFailure.KEY_UNREADABLE, path, error.strerror) from None
