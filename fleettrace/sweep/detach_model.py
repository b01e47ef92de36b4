"""What is known of traces that were left on their hosts, for who collects them: this run, or one that resumes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleettrace.node.detach import NodeClock
from fleettrace.node.planning import Planned
from fleettrace.node.samples import Sample
from fleettrace.probes.model import KeyLayout, TraceSettings
from fleettrace.summary.run import Warn

__all__ = ["Detach", "DetachedTrace"]


@dataclass(frozen=True, slots=True)
class DetachedTrace:
    """A trace on a host that nobody is logged in to, and all that is needed to read its output."""

    host: str
    folder: str
    nonce: str
    planned: tuple[Planned, ...]
    layout: KeyLayout
    bounds: TraceSettings
    looks: tuple[Sample, ...]
    warnings: tuple[Warn, ...]
    clock: NodeClock
    ends: float
    """When its window is over: seconds since 1970, by the controller's clock."""


def _nothing(_: object) -> None:
    return


@dataclass(frozen=True, slots=True)
class Detach:
    """How traces are left. `left` and `collected` hear of each as it happens, from many threads."""

    ttl_s: float
    """Seconds that the output of a trace stays on its host if nobody collects it."""
    known: Mapping[str, DetachedTrace] | None = None
    """Left by an earlier controller, by host: these are collected, and any other host is traced at once."""
    resumable: bool = False
    """Another run will know of what this one has left."""
    left: Callable[[DetachedTrace], None] = _nothing
    collected: Callable[[str], None] = _nothing
