"""The exit code of a run (a contract: see the README). Plays put it in their notices."""

from __future__ import annotations

from fleettrace.errors import HostState
from fleettrace.summary.run import RunResult
from fleettrace.sweep.cancellation import Reason

__all__ = ["exit_code"]

_STOPPED = {Reason.INTERRUPTED: 130, Reason.TERMINATED: 143, Reason.DEADLINE: 5}


def exit_code(result: RunResult, min_ok: float, *, traced: bool = True) -> int:
    """Return the exit code of a run; `min_ok` is a share of the hosts (0 to 1).

    `traced` is False for a check, which succeeds without counting requests.
    """
    if result.stopped in _STOPPED:
        return _STOPPED[Reason(result.stopped)]
    useful = sum(host.complete or host.state is HostState.PARTIAL for host in result.hosts)
    nothing = traced and all(host.requests is None for host in result.hosts)
    if nothing or not result.hosts or useful < min_ok * len(result.hosts):
        return 4
    return 0 if all(host.complete for host in result.hosts) else 3
