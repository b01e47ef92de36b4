"""Measure the request rate of each memcached process before its trace, from a few samples of its counters."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from fleettrace.errors import HostError
from fleettrace.node.model import Endpoint, Instance, NodeFacts
from fleettrace.node.plausible import MAX_RATE
from fleettrace.node.samples import Sample, SampleReader, by_process, in_order
from fleettrace.node.scripts import script_text
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Limits

__all__ = ["RequestRates", "assignments", "endpoint_lines", "sample_early"]

_LEAST_CPU_NS = 200
"""The least CPU time of a request: a tenth of the measured one (docs/benchmarks.md)."""
_CPU_SLACK_NS = 10_000_000
"""The kernel updates a thread's CPU time at every tick."""
_APART_S = 0.15
_LIMITS = Limits(seconds=6, max_bytes=1 << 20)
_SCRIPT = """
exec 3<&0 </dev/null
look 3 500
gather 4
"""

Endpoints = Mapping[int, Endpoint | None]
"""The endpoint, by pid, where memcached answers `stats`; None for a process without one."""


@dataclass(frozen=True, slots=True)
class RequestRates:
    """The samples before a trace, and the rates computed from them."""

    endpoints: Endpoints = field(default_factory=dict)
    rates: Mapping[int, float] = field(default_factory=dict)
    """Requests a second by pid, of the processes that answered."""
    samples: Sequence[Sample] = ()
    costs: Mapping[int, float | None] = field(default_factory=dict)
    """The most microseconds of CPU that the probe costs a request, by pid, measured by a first short trace; None if it
    could not be measured."""


def endpoint_lines(facts: NodeFacts, instances: Sequence[Instance], endpoints: Endpoints) -> str:
    """Return the processes to sample as input of sampler.sh: a line for each network namespace."""
    lines: dict[str, list[str]] = {}
    for instance in instances:
        endpoint = endpoints.get(instance.pid)
        inside = instance.netns in ("", facts.netns) or endpoint is None
        fields = lines.setdefault("-" if inside else instance.netns, [] if inside else [str(instance.pid)])
        fields.append(f"{instance.pid}/{endpoint.address}/{endpoint.port}" if endpoint else f"{instance.pid}/-/-")
    return "\n".join(" ".join([*(["-"] if netns == "-" else []), *fields]) for netns, fields in lines.items())


def assignments(timing: str, endpoints: str) -> str:
    """Return sampler.sh, with lines of sh before it that set its variables."""
    return f"timing={shlex.quote(timing)}\nplaces={shlex.quote(endpoints)}\n" + _sampler()


@cache
def _sampler() -> str:
    """Return sampler.sh with the programs that it runs."""
    texts = {"looker": script_text("talk.sh", "stats.sh"), "looker_pl": script_text("stats.pl")}
    return "".join(f"{name}={shlex.quote(text)}\n" for name, text in texts.items()) + script_text("sampler.sh")


def sample_early(connection: Connection, facts: NodeFacts, instances: Sequence[Instance]) -> RequestRates:
    """Sample each memcached process a few times. Raises nothing: a process that does not answer has no rate."""
    endpoints = {one.pid: one.endpoints[0] for one in instances if one.endpoints}
    if not endpoints:
        return RequestRates()
    sampled = [one for one in instances if one.pid in endpoints]
    script = assignments(f"{_APART_S} 1 100 0", endpoint_lines(facts, sampled, endpoints)) + _SCRIPT
    reader = SampleReader()
    try:
        reader.feed(run_script(connection, script.encode(), _LIMITS, keep_shell=True).err)
    except HostError:
        return RequestRates()
    return _rates_from(endpoints, reader.samples)


def _servable(first: Sample, last: Sample) -> float:
    """Return the most requests that a process can have served between two samples, by the CPU time that it used.

    A process that listens on a port may claim any number, and a too large one shortens the window of its host.
    """
    by_time = MAX_RATE * (last.ns - first.ns) / 1e9
    if first.cpu_ns is None or last.cpu_ns is None:
        return by_time
    return min(by_time, (last.cpu_ns - first.cpu_ns + _CPU_SLACK_NS) / _LEAST_CPU_NS)


def _rates_from(endpoints: Endpoints, samples: Sequence[Sample]) -> RequestRates:
    rates, answering, own = {}, {}, by_process(samples)
    for pid, endpoint in endpoints.items():
        answers = [sample for sample in in_order(own.get(pid, ()), pid) if sample.requests is not None]
        if len(answers) < 2:
            continue
        first, last = answers[0], answers[-1]
        more, ns = (last.requests or 0) - (first.requests or 0), last.ns - first.ns
        if more >= 0 and ns > 0 and more <= _servable(first, last):
            rates[pid], answering[pid] = more * 1e9 / ns, endpoint
    return RequestRates(answering, rates, tuple(samples))
