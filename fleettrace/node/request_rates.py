"""How busy each memcached is before it is traced: a few looks at its own counters, a fraction of a second apart."""

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
from fleettrace.transport.interface import Connection, Limits, Stream

__all__ = ["Places", "RequestRates", "assignments", "sample_early", "sample_rates"]

_LEAST_CPU_NS = 200
"""CPU time that a request takes at the least: a tenth of what was measured (docs/benchmarks.md)."""
_CPU_SLACK_NS = 10_000_000
"""The kernel adds up a thread's CPU time at every tick."""
_APART_S = 0.15
_LIMITS = Limits(seconds=6, max_bytes=1 << 20)
_SCRIPT = """
exec 3<&0 </dev/null
look 3 500
gather 4
"""

Places = Mapping[int, Endpoint | None]
"""Where each memcached, by pid, can be asked for its counters; None where it cannot."""


@dataclass(frozen=True, slots=True)
class RequestRates:
    """What is known before the trace."""

    places: Places = field(default_factory=dict)
    rates: Mapping[int, float] = field(default_factory=dict)
    """Requests a second by pid, of those that could be asked."""
    looks: Sequence[Sample] = ()
    costs: Mapping[int, float | None] = field(default_factory=dict)
    """Microseconds of CPU that a request pays for its probe at the most, by pid, as a first short trace measured it;
    None where it could not."""


def sample_rates(facts: NodeFacts, instances: Sequence[Instance], places: Places) -> str:
    """The memcacheds to look at as sampler.sh wants them: a line for each network namespace."""
    lines: dict[str, list[str]] = {}
    for instance in instances:
        place = places.get(instance.pid)
        inside = instance.netns in ("", facts.netns) or place is None
        words = lines.setdefault("-" if inside else instance.netns, [] if inside else [str(instance.pid)])
        words.append(f"{instance.pid}/{place.address}/{place.port}" if place else f"{instance.pid}/-/-")
    return "\n".join(" ".join([*(["-"] if netns == "-" else []), *words]) for netns, words in lines.items())


def assignments(timing: str, places: str) -> str:
    """Lines of sh that set what sampler.sh wants set, and sampler.sh itself."""
    return f"timing={shlex.quote(timing)}\nplaces={shlex.quote(places)}\n" + _looking()


@cache
def _looking() -> str:
    """sampler.sh, and the texts that it runs."""
    texts = {"looker": script_text("stats.sh"), "looker_pl": script_text("stats.pl")}
    return "".join(f"{name}={shlex.quote(text)}\n" for name, text in texts.items()) + script_text("sampler.sh")


def sample_early(connection: Connection, facts: NodeFacts, instances: Sequence[Instance]) -> RequestRates:
    """Ask each memcached how busy it is. Raises nothing: who does not answer in time is not known."""
    places = {one.pid: one.endpoints[0] for one in instances if one.endpoints}
    if not places:
        return RequestRates()
    asked = [one for one in instances if one.pid in places]
    script = assignments(f"{_APART_S} 1 100 0", sample_rates(facts, asked, places)) + _SCRIPT
    reader = SampleReader()
    try:
        execution = connection.start(script.encode(), _LIMITS, keep_shell=True)
        try:
            for chunk in execution:
                if chunk.stream is Stream.ERR:
                    reader.feed(chunk.data)
        finally:
            execution.close()
    except HostError:
        return RequestRates()
    return _busyness(places, reader.looks)


def _servable(first: Sample, last: Sample) -> float:
    """Return how many requests a process can have served between two looks, with the CPU time that the kernel counted.

    What listens on a port may claim any number, and one that is too large shortens the window of its whole host.
    """
    by_time = MAX_RATE * (last.ns - first.ns) / 1e9
    if first.cpu_ns is None or last.cpu_ns is None:
        return by_time
    return min(by_time, (last.cpu_ns - first.cpu_ns + _CPU_SLACK_NS) / _LEAST_CPU_NS)


def _busyness(places: Places, looks: Sequence[Sample]) -> RequestRates:
    rates, answering, samples = {}, {}, by_process(looks)
    for pid, place in places.items():
        told = [look for look in in_order(samples.get(pid, ()), pid) if look.requests is not None]
        if len(told) < 2:
            continue
        first, last = told[0], told[-1]
        more, ns = (last.requests or 0) - (first.requests or 0), last.ns - first.ns
        if more >= 0 and ns > 0 and more <= _servable(first, last):
            rates[pid], answering[pid] = more * 1e9 / ns, place
    return RequestRates(answering, rates, tuple(looks))
