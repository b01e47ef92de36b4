"""Add what memcached reports about the hottest keys of a host to its outcome, after the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fleettrace.node.items import Question, ask_items
from fleettrace.node.model import Endpoint, Instance
from fleettrace.node.planning import Planned
from fleettrace.node.trace_end import TraceEnd
from fleettrace.summary.items import ItemFacts
from fleettrace.summary.key import Key
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.tracer import TracerContext
from fleettrace.transport.interface import Connection

__all__ = ["add_items"]


def add_items(
    context: TracerContext,
    connection: Connection,
    outcome: HostOutcome,
    end: TraceEnd,
    planned: Sequence[Planned],
    *,
    netns: str,
    answering: Mapping[int, Endpoint | None] | None = None,
) -> HostOutcome:
    """Ask each traced instance about its keys among the host's hottest ones, and return the outcome with the answers.

    `netns` is the network namespace of the session, empty if it is unknown. `answering` has the endpoints that are
    known to answer, by pid; without it, each instance is asked on its first one. A host with a broken connection is not
    asked, so that it delays nothing. Raises nothing: what is unknown has a reason.
    """
    settings = context.settings
    if not settings.ask or settings.options.script is not None or settings.options.asked:
        return outcome
    if end.broken or context.cancellation.reason is not None or not outcome.result.top:
        return outcome
    instances = [each.instance for each in planned if each.instance.id in outcome.summaries]
    keys = _keys_of(outcome, instances)
    questions = [
        Question(
            one,
            (one.endpoints[0] if one.endpoints else None) if answering is None else answering.get(one.pid),
            tuple(keys[one.pid]),
        )
        for one in instances
        if keys[one.pid]
    ]
    items: dict[Key, ItemFacts] = {}
    for found in ask_items(connection, netns, questions, fetch=settings.ask_get).values():
        items.update(found)
    outcome.result = replace(outcome.result, items=items)
    return outcome


def _keys_of(outcome: HostOutcome, instances: Sequence[Instance]) -> dict[int, list[Key]]:
    """Return the host's hottest keys by the pid of the instance with most requests for each."""
    keys: dict[int, list[Key]] = {one.pid: [] for one in instances}
    for key, _ in outcome.result.top:
        requests = {
            one.pid: count.requests
            for one in instances
            if (count := outcome.summaries[one.id].keys.get(key)) is not None
        }
        if requests:
            keys[max(requests, key=lambda pid: requests[pid])].append(key)
    return keys
