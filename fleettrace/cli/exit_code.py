"""What a run's exit code is (the contract is in the README)."""

from __future__ import annotations

from fleettrace.errors import HostState
from fleettrace.summary.run import RunResult
from fleettrace.sweep.cancellation import Reason

__all__ = ["exit_code"]

_STOPPED = {Reason.INTERRUPTED: 130, Reason.TERMINATED: 143, Reason.DEADLINE: 5}


def exit_code(result: RunResult, reason: Reason | None, min_ok: float, *, traced: bool = True) -> int:
    """The exit code of a run that ended, for `reason` when early. `min_ok` is a share of the hosts.

    With `traced`, a run in which no instance at all was traced has nothing to report.
    """
    if reason in _STOPPED:
        return _STOPPED[reason]
    useful = sum(host.complete or host.state is HostState.PARTIAL for host in result.hosts)
    nothing = traced and all(host.requests is None for host in result.hosts)
    if nothing or not result.hosts or useful < min_ok * len(result.hosts):
        return 4
    return 0 if all(host.complete for host in result.hosts) else 3
