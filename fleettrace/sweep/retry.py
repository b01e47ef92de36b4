"""Which failed logins are worth another try, and when.

Only a login is ever tried again, and only where what failed can be over in a second: nothing was started on the host
then. What a host decided about us (its key, our login, sudo) stays decided, and trying again may lock an account.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from fleettrace.errors import HostError, HostState

__all__ = ["pause_s", "retryable"]

_CURABLE = frozenset(
    {
        # Nobody listens, or the link was reset: sshd or a load balancer that is being restarted.
        "connection-refused",
        "connect-failed",
        # sshd drops connections while too many are not yet logged in (MaxStartups of sshd_config(5)).
        "banner-closed",
        "banner-timeout",
        "kex-timeout",
        "connection-lost",
        "dns-timeout",
        # Of a connection that several hosts share.
        "lost",
    }
)
_SHORTEST_S, _LONGEST_S = 0.25, 2.0


def retryable(error: HostError) -> bool:
    """Whether a login that failed so may succeed if tried again. A bastion's failures count like a host's own."""
    return error.state is HostState.UNREACHABLE and error.code.removeprefix("bastion-") in _CURABLE


def pause_s(attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait after failed attempt `attempt` (from 1).

    Drawn at random and doubled each time: a thousand hosts behind the same full door must not come back together.
    """
    return uniform(_SHORTEST_S, _LONGEST_S) * 2.0 ** (attempt - 1)
