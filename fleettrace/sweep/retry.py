"""Decide which failed logins are retried, and when.

Only a login is retried, since nothing was started on the host yet, and only after a failure that may pass within a
second. A host's decision (its key, the login, sudo) does not change, and a retry may lock the account.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from fleettrace.errors import HostError, HostState

__all__ = ["pause_s", "retryable"]

_TRANSIENT = frozenset(
    {
        # No process listens, or the connection was reset: sshd or a load balancer is restarting.
        "connection-refused",
        "connect-failed",
        # sshd drops connections while too many are not logged in yet (MaxStartups in sshd_config(5)).
        "banner-closed",
        "banner-timeout",
        "kex-timeout",
        "connection-lost",
        "dns-timeout",
        # A connection that several hosts share.
        "lost",
    }
)
_SHORTEST_S, _LONGEST_S = 0.25, 2.0


def retryable(error: HostError) -> bool:
    """Return whether a login that failed this way may succeed on a retry. A bastion's failures count like a host's."""
    return error.state is HostState.UNREACHABLE and error.code.removeprefix("bastion-") in _TRANSIENT


def pause_s(attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Return the seconds to wait after failed attempt `attempt` (from 1).

    The time is random, and doubles with each attempt: a thousand hosts behind one busy bastion must not all come back
    at the same moment.
    """
    return uniform(_SHORTEST_S, _LONGEST_S) * 2.0 ** (attempt - 1)
