"""What the processes of a host that could not be looked into make of its result."""

from __future__ import annotations

from fleettrace.errors import HostState
from fleettrace.node.model import NodeFacts
from fleettrace.node.trace_obstacles import unreadable
from fleettrace.summary.run import Failure, HostResult

__all__ = ["add_unreadable"]


def add_unreadable(result: HostResult, facts: NodeFacts) -> None:
    """Make a host that is otherwise complete partial, or unsupported where nothing else was found on it."""
    error = unreadable(facts)
    if error is None or not result.complete:
        return
    result.state = HostState.PARTIAL if result.instances else error.state
    result.error = Failure(error.code, error.message)
