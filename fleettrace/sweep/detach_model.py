"""The values of `--detach`: how traces are left on hosts, and what this run or a later one needs to collect them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleettrace.node.detach import NodeClock
from fleettrace.node.planning import Planned
from fleettrace.node.samples import Sample
from fleettrace.probes.model import KeyLayout, TraceSettings
from fleettrace.summary.run import Failure, Warn

__all__ = ["Detach", "DetachedTrace"]


@dataclass(frozen=True, slots=True)
class DetachedTrace:
    """A trace on a host without a login, and all that is needed to read its output."""

    host: str
    directory: str
    """Where the trace is on the host."""
    nonce: str
    planned: tuple[Planned, ...]
    layout: KeyLayout
    bounds: TraceSettings
    samples: tuple[Sample, ...]
    """From before the window."""
    warnings: tuple[Warn, ...]
    """Of discovery, of the program's selection and of the clocks, for the report."""
    failure: Failure | None
    """What discovery could not look into or trace: it makes a complete result partial."""
    clock: NodeClock
    ends: float
    """When its window is over: seconds since 1970, by the controller's clock."""


def _ignore(_: object) -> None:
    return


@dataclass(frozen=True, slots=True)
class Detach:
    """How traces are left. `on_left` and `on_collected` are called for each trace, from many threads."""

    ttl_s: float
    """Seconds that the output of a trace stays on its host if no controller collects it."""
    resumed: Mapping[str, DetachedTrace] | None = None
    """The traces that an earlier run has left, by host: collect these, and trace every other host at once."""
    resumable: bool = False
    """Whether the traces of this run are written down, so that another run can collect them."""
    on_left: Callable[[DetachedTrace], None] = _ignore
    on_collected: Callable[[str], None] = _ignore
    """Takes the host's name."""
