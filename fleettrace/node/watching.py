"""The rung `watch`: memcached's own `watch fetchers` over its port, where bpftrace cannot run at all.

Every look-up by key makes one line of that stream, whatever the protocol: also the one that a store makes (`mutations`
would only name it again), as on the rung `item`. It is memcached that drops lines when there are too many of them, and
says how many; counts are approximate. The node adds the lines up and sends what it counted once, at the end.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote_to_bytes

from fleettrace.errors import HostError, HostState
from fleettrace.node.model import Endpoint, Instance, NodeBinary, NodeFacts
from fleettrace.node.planning import Planned
from fleettrace.node.plausible import MAX_INTEGER, MAX_RATE, ImplausibleError, implausible, integer
from fleettrace.node.request_rates import assignments, sample_rates
from fleettrace.node.samples import SampleReader, by_process, in_order
from fleettrace.node.scripts import script_text
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan, TraceSettings
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import KEY_MAX_LENGTH, Key
from fleettrace.summary.run import Failure, ProbeVerdict
from fleettrace.transport.interface import Connection, Execution, Limits, Stream

__all__ = ["WatchTrace", "plan_watch", "reachable_without_root"]

MAX_OUTPUT = 1 << 26
COST_US = 0.9
"""Microseconds of memcached's CPU for each look-up that it tells of: 0.3 to 0.9 were measured."""
DEFAULT_PORT = 11211
_LINE_MAX = 4096
_MOST_PORTS = 64
"""Ports that are asked whether a memcached listens there."""
_NUMBERS = frozenset(("total", "skipped", "lost"))
_SLACK_S = 30.0
_FIND = """
awk '$4 == "0A" { print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
"""
_ASK_BASH = (
    "exec 4<>/dev/tcp/$1/$2 && printf 'stats\\r\\nquit\\r\\n' >&4 && "
    "while IFS= read -r -t 1 -n 200 line <&4; do printf '%s\\n' \"$line\"; done"
)
_ASK_PERL = (
    "alarm 2; $s = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => 1) or exit 1; "
    'print $s "stats\\r\\nquit\\r\\n"; $s->flush; print while <$s>'
)


def plan_watch(instances: Sequence[Instance]) -> list[Planned]:
    """How each instance is watched; one that listens for no TCP is not."""
    planned = []
    for instance in instances:
        if not instance.endpoints:
            failure = Failure("unsupported", "no way to watch this memcached: it listens on no TCP port")
            planned.append(Planned(instance, failure=failure))
            continue
        where = instance.endpoints[0]
        verdict = ProbeVerdict(
            ProbeKind.WATCH.value,
            exact=False,
            cost=COST_US,
            why=f"memcached's own `watch fetchers` on port {where.port}; it may leave lines out",
        )
        planned.append(Planned(instance, ProbePlan(ProbeKind.WATCH, "", verdict, pointer="", length="")))
    return planned


def reachable_without_root(
    connection: Connection, facts: NodeFacts, wanted: Callable[[Instance], bool]
) -> list[Instance]:
    """The memcacheds that answer on ports which are wanted: for a session that may not look into their processes.

    Asked are listening ports that `fleettrace_instances` names; where it names none, the usual one.
    """
    every = wanted(_nameless(Endpoint("127.0.0.1", 0), facts))
    found = []
    for endpoint in _listening(connection):
        instance = _nameless(endpoint, facts)
        if endpoint.port == DEFAULT_PORT if every else wanted(instance):
            found.append(instance)
    del found[_MOST_PORTS:]
    by_pid: dict[int, Instance] = {}
    for instance in found:
        pid = _pid_behind(connection, instance.endpoints[0])
        if pid is not None:
            by_pid.setdefault(pid, replace(instance, pid=pid))
    return list(by_pid.values())


def _nameless(endpoint: Endpoint, facts: NodeFacts) -> Instance:
    return Instance(0, 0, NodeBinary("", 0, None), b"", None, (endpoint.port,), None, (endpoint,), facts.netns)


def _listening(connection: Connection) -> list[Endpoint]:
    from fleettrace.node.discovery import endpoint_of

    words = _said(connection, _FIND).decode("ascii", "replace").split()
    valid = [word for word in words if re.fullmatch(r"[0-9A-F]{8}(?:[0-9A-F]{24})?:[0-9A-F]{4}", word)]
    return sorted({endpoint_of(word) for word in valid}, key=lambda endpoint: (":" in endpoint.address, endpoint))


def _pid_behind(connection: Connection, endpoint: Endpoint) -> int | None:
    """The process that says it is memcached there; None where nobody does."""
    place = f"{shlex.quote(endpoint.address)} {endpoint.port}"
    script = (
        f"if command -v bash >/dev/null 2>&1; then bash -c {shlex.quote(_ASK_BASH)} ask {place}\n"
        f"else perl -MIO::Socket::IP -e {shlex.quote(_ASK_PERL)} {place}; fi 2>/dev/null | head -c 16384\n"
    )
    said = re.search(rb"^STAT pid (\d{1,10})\r?$", _said(connection, script), re.MULTILINE)
    return int(said[1]) if said else None


def _said(connection: Connection, script: str) -> bytes:
    execution = connection.start(script.encode(), Limits(seconds=15, max_bytes=1 << 20))
    try:
        return b"".join(chunk.data for chunk in execution if chunk.stream is Stream.OUT)
    finally:
        execution.close()


@dataclass(slots=True)
class _Told:
    """What one memcached told."""

    begun_ns: int | None = None
    end_ns: int | None = None
    refused: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    keys: dict[Key, int] = field(default_factory=dict)
    smallest: int = 0


class WatchTrace:
    """One window of watching the memcacheds of a host: its script, and the state of reading it."""

    def __init__(
        self, facts: NodeFacts, instances: Sequence[Instance], settings: TraceSettings, on_start: Callable[[], None]
    ) -> None:
        self._facts = facts
        self._instances = instances
        self._settings = settings
        self._on_start = on_start
        self._told = [_Told() for _ in instances]
        self._looks = SampleReader()
        self._buffer = b""
        self._ended = False
        self._words = b""

    @property
    def limits(self) -> Limits:
        """The bounds on the controller's side."""
        return Limits(seconds=self._settings.duration_s + _SLACK_S, max_bytes=MAX_OUTPUT)

    @property
    def skipped(self) -> dict[int, int]:
        """By pid: the lines that a memcached says it left out."""
        return {one.pid: told.numbers.get("skipped", 0) for one, told in zip(self._instances, self._told, strict=True)}

    @property
    def refused(self) -> dict[int, str]:
        """By pid: why a memcached was not watched."""
        return {one.pid: told.refused for one, told in zip(self._instances, self._told, strict=True) if told.refused}

    def script(self) -> bytes:
        """The script for the node."""
        lines = []
        for instance in self._instances:
            inside = instance.netns in ("", self._facts.netns)
            where = instance.endpoints[0]
            lines.append(f"{'-' if inside else instance.pid} {where.address} {where.port}")
        duration = self._settings.duration_s
        own = {
            "seconds": f"{duration:.2f}",
            "watched": "\n".join(lines),
            "entries": str(self._settings.entries),
            "printed": str(self._settings.printed_once),
        }
        sparse = max(1.0, duration / 36)
        timing = f"0.2 {sparse:.2f} {sparse * 100:.0f} {duration * 100:.0f}"
        places = {one.pid: one.endpoints[0] for one in self._instances}
        text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in own.items())
        looking = assignments(timing, sample_rates(self._facts, self._instances, places))
        return (text + looking + script_text("watch.sh")).encode()

    def read(self, execution: Execution) -> TraceEnd:
        """Read to the end. Raises `HostError` when no memcached told anything, or the node sent what cannot be true."""
        try:
            return self._read(execution)
        except ImplausibleError as error:
            raise implausible(error) from None

    def _read(self, execution: Execution) -> TraceEnd:
        broken: HostError | None = None
        try:
            for chunk in execution:
                if chunk.stream is Stream.ERR:
                    self._words = (self._words + self._looks.feed(chunk.data))[:_LINE_MAX]
                else:
                    self._take(chunk.data)
        except HostError as error:
            broken = error
        finally:
            execution.close()
        return self._end(broken)

    def _take(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._buffer = self._buffer[:_LINE_MAX]
        for line in lines:
            words = line[:_LINE_MAX].split(b" ", 2)
            if words == [b"end"]:
                self._ended = True
            elif len(words) == 3 and words[0].isdigit() and 0 < int(words[0]) <= len(self._told):
                self._hear(self._told[int(words[0]) - 1], words[1].decode("ascii", "replace"), words[2])

    def _hear(self, told: _Told, word: str, value: bytes) -> None:
        if word == "ok":
            told.begun_ns = _nanoseconds(value)
            if all(one.begun_ns is not None or one.refused for one in self._told):
                self._on_start()
        elif word == "end":
            told.end_ns = _nanoseconds(value)
        elif word == "refused":
            told.refused = value.decode("utf-8", "replace").strip()[:200] or "no answer"
        elif word == "key":
            requests, _, name = value.partition(b" ")
            data = unquote_to_bytes(name)
            if requests.isdigit() and 0 < len(data) <= KEY_MAX_LENGTH:
                key, count = Key.whole(data), integer(requests, MAX_INTEGER, "a key's count")
                told.keys[key] = told.keys.get(key, 0) + count
                told.smallest = min(told.smallest or count, count)
                if len(told.keys) > self._settings.printed_once:
                    raise ImplausibleError(f"more than {self._settings.printed_once} keys of one memcached")
        elif word in _NUMBERS and value.isdigit():
            told.numbers[word] = min(int(value[:20]), MAX_INTEGER)

    def _end(self, broken: HostError | None) -> TraceEnd:
        begun = [told.begun_ns for told in self._told if told.begun_ns is not None]
        ends = [told.end_ns for told in self._told if told.end_ns is not None]
        if not begun or not ends or not self._ended:
            if broken is not None:
                raise broken
            reasons = list(dict.fromkeys(told.refused for told in self._told if told.refused))
            said = "; ".join(reasons) or self._words.decode("utf-8", "replace").strip()[:200] or "it said nothing"
            raise HostError(HostState.TRACE_FAILED, "watch-failed", f"memcached cannot be watched there: {said}")
        start_ns = min(begun)
        samples = by_process(self._looks.looks)
        looks = {one.pid: in_order(samples.get(one.pid, ()), one.pid) for one in self._instances}
        window_s = max(0, max(ends) - start_ns) / 1e9
        if window_s > self._settings.duration_s + _SLACK_S:
            raise ImplausibleError(f"a window of {window_s:.0f} s")
        for told in self._told:
            # What a memcached prints is its container's word, not the node's: it costs that instance only.
            if max(0, 0, *told.numbers.values()) > MAX_RATE * (window_s + 1):
                told.refused = f"it claims more requests than any memcached can have had in {window_s:.3g} s"
                told.keys, told.numbers = {}, {}
        return TraceEnd(
            whole=broken is None and window_s >= self._settings.duration_s * 0.98,
            broken=broken is not None,
            window_s=window_s,
            summaries={one.pid: self._summary(told) for one, told in zip(self._instances, self._told, strict=True)},
            alive={one.pid for one in self._instances},
            implausible=set(),
            start_ns=start_ns,
            looks=looks,
            words="" if broken is None else str(broken),
        )

    def _summary(self, told: _Told) -> Summary:
        """What one memcached told. A line that is missing may have been any key's."""
        listed = sum(told.keys.values())
        total = told.numbers.get("total", listed)
        if listed > total:
            raise ImplausibleError(f"{listed} requests by key under a total of {total}")
        lost = told.numbers.get("lost", 0)
        cut = told.smallest if len(told.keys) >= self._settings.printed_once else 0
        absent = told.numbers.get("skipped", 0) + lost + cut
        # A key that is listed was counted from its first line on, but for those that memcached left out.
        keys = {key: KeyCount(count, covered=lost + cut, timeline=[count]) for key, count in told.keys.items()}
        summary = Summary(total, absent, keys, [total])
        summary.bound(max(1, self._settings.keys // len(self._instances)))
        return summary


def _nanoseconds(uptime: bytes) -> int | None:
    found = re.fullmatch(rb"(\d{1,12})\.(\d\d)", uptime.strip())
    return int(found[1] + found[2]) * 10_000_000 if found else None
