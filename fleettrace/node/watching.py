"""The probe kind `watch`: memcached's own `watch fetchers` over its port, where bpftrace cannot run at all.

Every look-up by key makes one line of that stream, in any protocol. This includes the look-up by a store, as with the
probe kind `item` (`mutations` would only name it again). memcached drops lines when there are too many and reports how
many, so counts are approximate. The node adds the lines up and sends the sums once, at the end.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote_to_bytes

from fleettrace.errors import HostError, HostState
from fleettrace.node.discovery import endpoint_of
from fleettrace.node.model import Endpoint, Instance, NodeBinary, NodeFacts
from fleettrace.node.planning import Planned
from fleettrace.node.plausible import MAX_INTEGER, MAX_RATE, ImplausibleError, implausible, integer
from fleettrace.node.request_rates import assignments, endpoint_lines
from fleettrace.node.samples import SampleReader, by_process, in_order
from fleettrace.node.scripts import script_text
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbeKind, ProbePlan, TraceSettings
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import KEY_MAX_LENGTH, Key
from fleettrace.summary.run import Failure, ProbeVerdict
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Execution, Limits, Stream

__all__ = ["WatchTrace", "plan_watch", "reachable_without_root"]

_MAX_OUTPUT = 1 << 26
_COST_US = 0.9
"""Microseconds of memcached's CPU for each look-up that it logs; measured: 0.3 to 0.9."""
_DEFAULT_PORT = 11211
_LINE_MAX = 4096
_MOST_PORTS = 64
"""The most ports that are checked for a memcached."""
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
    """Return a plan for each instance; one without a TCP port has none."""
    planned = []
    for instance in instances:
        if not instance.endpoints:
            failure = Failure("unsupported", "memcached cannot be watched: it listens on no TCP port")
            planned.append(Planned(instance, failure=failure))
            continue
        endpoint = instance.endpoints[0]
        verdict = ProbeVerdict(
            ProbeKind.WATCH.value,
            exact=False,
            cost=_COST_US,
            why=f"memcached's own `watch fetchers` on port {endpoint.port}; it may drop lines",
        )
        planned.append(Planned(instance, ProbePlan(ProbeKind.WATCH, "", verdict, pointer="", length="")))
    return planned


def reachable_without_root(
    connection: Connection, facts: NodeFacts, selected: Callable[[Instance], bool]
) -> list[Instance]:
    """Return the memcached instances that answer on selected ports, for a session that may not read their processes.

    The listening ports that `fleettrace_instances` names are checked; if it names none, the usual port.
    """
    every = selected(_nameless(Endpoint("127.0.0.1", 0), facts))
    found = []
    for endpoint in _listening(connection):
        instance = _nameless(endpoint, facts)
        if endpoint.port == _DEFAULT_PORT if every else selected(instance):
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
    printed = _output_of(connection, _FIND).decode("ascii", "replace").split()
    valid = [text for text in printed if re.fullmatch(r"[0-9A-F]{8}(?:[0-9A-F]{24})?:[0-9A-F]{4}", text)]
    return sorted({endpoint_of(text) for text in valid}, key=lambda endpoint: (":" in endpoint.address, endpoint))


def _pid_behind(connection: Connection, endpoint: Endpoint) -> int | None:
    """Return the pid in memcached's answer at an endpoint; None without an answer."""
    where = f"{shlex.quote(endpoint.address)} {endpoint.port}"
    script = (
        f"if command -v bash >/dev/null 2>&1; then bash -c {shlex.quote(_ASK_BASH)} ask {where}\n"
        f"else perl -MIO::Socket::IP -e {shlex.quote(_ASK_PERL)} {where}; fi 2>/dev/null | head -c 16384\n"
    )
    found = re.search(rb"^STAT pid (\d{1,10})\r?$", _output_of(connection, script), re.MULTILINE)
    return int(found[1]) if found else None


def _output_of(connection: Connection, script: str) -> bytes:
    return run_script(connection, script.encode(), Limits(seconds=15, max_bytes=1 << 20)).out


@dataclass(slots=True)
class _Log:
    """What one memcached process has logged."""

    begun_ns: int | None = None
    end_ns: int | None = None
    refused: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    keys: dict[Key, int] = field(default_factory=dict)
    smallest: int = 0


class WatchTrace:
    """One window of watching the memcached instances of a host: its script, and the state of reading its output."""

    def __init__(
        self, facts: NodeFacts, instances: Sequence[Instance], settings: TraceSettings, on_start: Callable[[], None]
    ) -> None:
        self._facts = facts
        self._instances = instances
        self._settings = settings
        self._on_start = on_start
        self._logs = [_Log() for _ in instances]
        self._samples = SampleReader()
        self._buffer = b""
        self._ended = False
        self._stderr = b""

    @property
    def limits(self) -> Limits:
        """The bounds on the controller's side."""
        return Limits(seconds=self._settings.duration_s + _SLACK_S, max_bytes=_MAX_OUTPUT)

    @property
    def skipped(self) -> dict[int, int]:
        """By pid: the number of lines that memcached reports as dropped."""
        return {one.pid: log.numbers.get("skipped", 0) for one, log in zip(self._instances, self._logs, strict=True)}

    @property
    def refused(self) -> dict[int, str]:
        """By pid: why an instance was not watched."""
        return {one.pid: log.refused for one, log in zip(self._instances, self._logs, strict=True) if log.refused}

    def script(self) -> bytes:
        """Return the script for the node."""
        lines = []
        for instance in self._instances:
            inside = instance.netns in ("", self._facts.netns)
            endpoint = instance.endpoints[0]
            lines.append(f"{'-' if inside else instance.pid} {endpoint.address} {endpoint.port}")
        duration = self._settings.duration_s
        own = {
            "seconds": f"{duration:.2f}",
            "watched": "\n".join(lines),
            "entries": str(self._settings.entries),
            "printed": str(self._settings.printed_once),
        }
        sparse = max(1.0, duration / 36)
        timing = f"0.2 {sparse:.2f} {sparse * 100:.0f} {duration * 100:.0f}"
        endpoints = {one.pid: one.endpoints[0] for one in self._instances}
        text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in own.items())
        sampler = assignments(timing, endpoint_lines(self._facts, self._instances, endpoints))
        return (text + sampler + script_text("watch.sh")).encode()

    def read(self, execution: Execution) -> TraceEnd:
        """Read to the end. Raises `HostError` if no memcached could be watched, and for impossible data."""
        try:
            return self._read(execution)
        except ImplausibleError as error:
            raise implausible(error) from None

    def _read(self, execution: Execution) -> TraceEnd:
        broken: HostError | None = None
        try:
            for chunk in execution:
                if chunk.stream is Stream.ERR:
                    self._stderr = (self._stderr + self._samples.feed(chunk.data))[:_LINE_MAX]
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
            fields = line[:_LINE_MAX].split(b" ", 2)
            if fields == [b"end"]:
                self._ended = True
            elif len(fields) == 3 and fields[0].isdigit() and 0 < int(fields[0]) <= len(self._logs):
                self._add(self._logs[int(fields[0]) - 1], fields[1].decode("ascii", "replace"), fields[2])

    def _add(self, log: _Log, word: str, value: bytes) -> None:
        if word == "ok":
            log.begun_ns = _nanoseconds(value)
            if all(one.begun_ns is not None or one.refused for one in self._logs):
                self._on_start()
        elif word == "end":
            log.end_ns = _nanoseconds(value)
        elif word == "refused":
            log.refused = value.decode("utf-8", "replace").strip()[:200] or "no answer"
        elif word == "key":
            requests, _, name = value.partition(b" ")
            data = unquote_to_bytes(name)
            if requests.isdigit() and 0 < len(data) <= KEY_MAX_LENGTH:
                key, count = Key.whole(data), integer(requests, MAX_INTEGER, "a key's count")
                log.keys[key] = log.keys.get(key, 0) + count
                log.smallest = min(log.smallest or count, count)
                if len(log.keys) > self._settings.printed_once:
                    raise ImplausibleError(f"more than {self._settings.printed_once} keys of one memcached")
        elif word in _NUMBERS and value.isdigit():
            log.numbers[word] = min(int(value[:20]), MAX_INTEGER)

    def _end(self, broken: HostError | None) -> TraceEnd:
        begun = [log.begun_ns for log in self._logs if log.begun_ns is not None]
        ends = [log.end_ns for log in self._logs if log.end_ns is not None]
        if not begun or not ends or not self._ended:
            if broken is not None:
                raise broken
            reasons = list(dict.fromkeys(log.refused for log in self._logs if log.refused))
            why = "; ".join(reasons) or self._stderr.decode("utf-8", "replace").strip()[:200] or "it printed nothing"
            raise HostError(HostState.TRACE_FAILED, "watch-failed", f"memcached cannot be watched there: {why}")
        start_ns = min(begun)
        own = by_process(self._samples.samples)
        samples = {one.pid: in_order(own.get(one.pid, ()), one.pid) for one in self._instances}
        window_s = max(0, max(ends) - start_ns) / 1e9
        if window_s > self._settings.duration_s + _SLACK_S:
            raise ImplausibleError(f"a window of {window_s:.0f} s")
        for log in self._logs:
            # A false number comes from memcached's container, not from the node, so it costs only that instance.
            if max(0, 0, *log.numbers.values()) > MAX_RATE * (window_s + 1):
                log.refused = f"it reports more requests than memcached can serve in {window_s:.3g} s"
                log.keys, log.numbers = {}, {}
        return TraceEnd(
            complete=broken is None and window_s >= self._settings.duration_s * 0.98,
            broken=broken is not None,
            window_s=window_s,
            summaries={one.pid: self._summary(log) for one, log in zip(self._instances, self._logs, strict=True)},
            alive={one.pid for one in self._instances},
            implausible=set(),
            start_ns=start_ns,
            samples=samples,
            classes=self._samples.classes,
            error_text="" if broken is None else str(broken),
        )

    def _summary(self, log: _Log) -> Summary:
        """Return the summary of one log. A dropped line may have named any key."""
        listed = sum(log.keys.values())
        total = log.numbers.get("total", listed)
        if listed > total:
            raise ImplausibleError(f"{listed} requests by key under a total of {total}")
        lost = log.numbers.get("lost", 0)
        cut = log.smallest if len(log.keys) >= self._settings.printed_once else 0
        absent = log.numbers.get("skipped", 0) + lost + cut
        # A listed key was counted from its first line on, except for the lines that memcached dropped.
        keys = {key: KeyCount(count, covered=lost + cut, timeline=[count]) for key, count in log.keys.items()}
        summary = Summary(total, absent, keys, [total])
        summary.bound(max(1, self._settings.keys // len(self._instances)))
        return summary


def _nanoseconds(uptime: bytes) -> int | None:
    found = re.fullmatch(rb"(\d{1,12})\.(\d\d)", uptime.strip())
    return int(found[1] + found[2]) * 10_000_000 if found else None
