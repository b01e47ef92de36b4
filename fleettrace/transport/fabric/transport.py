"""The transport `ssh`: logs in by fabric, which is imported with the first connection, because that takes long."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace.transport.address_check import check_address
from fleettrace.transport.interface import Target
from fleettrace.transport.login_options import local_user
from fleettrace.transport.ssh_query import SshQueries

if TYPE_CHECKING:
    from fleettrace.transport.fabric.connection import Logins, SshConnection

__all__ = ["SshTransport"]


class SshTransport:
    """Reach hosts over SSH by fabric. One object serves a run, from many threads."""

    def __init__(self, queries: SshQueries | None = None) -> None:
        self._queries = queries or SshQueries()
        self._lock = threading.Lock()
        self._logins: Logins | None = None

    def connect(self, target: Target) -> SshConnection:
        """Log in within `target.connect_timeout` seconds.

        Raises `HostError` (`unreachable`, `auth-failed`, `host-key`), and `ConfigError` for a faulty ssh_config.
        """
        deadline = time.monotonic() + target.connect_timeout
        check_address(target)
        return self._shared_logins().open(target, deadline)

    def check(self, file: Path | None) -> None:
        """Check the ssh_config `file` (None: the user's and the system's) before a login. Raises `ConfigError`."""
        local_user()
        self._queries.check(file)

    def close(self) -> None:
        """Close the connections to bastions."""
        with self._lock:
            logins, self._logins = self._logins, None
        if logins is not None:
            logins.close()

    def _shared_logins(self) -> Logins:
        from fleettrace.transport.fabric.connection import Logins

        with self._lock:
            if self._logins is None:
                self._logins = Logins(self._queries)
            return self._logins
