"""Watch one memcached over its port, from the controller, for one window, and sample its counters meanwhile."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fleettrace.errors import HostError, HostState
from fleettrace.node.items import ask_items_of_port
from fleettrace.node.lookup_log import FLUSHED_S, LookupLog
from fleettrace.node.plausible import MAX_RATE, ImplausibleError, implausible
from fleettrace.node.samples import ClassSample, Sample, counted
from fleettrace.node.server_stats import ServerStats, parse_classes, parse_stats
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import TraceSettings
from fleettrace.summary.counts import Summary
from fleettrace.summary.items import ItemFacts, ItemGap
from fleettrace.summary.key import Key
from fleettrace.transport.endpoint.failures import EndpointFailure
from fleettrace.transport.endpoint.port import MemcachedPort

__all__ = ["EndpointTrace", "ask_stats", "ask_watch", "is_proxy"]

_STATS_END = re.compile(rb"END\r?$|(?:ERROR|CLIENT_ERROR|SERVER_ERROR)\b")
_MOST_STATS = 1 << 16
_MOST_CLASSES = 1 << 18
"""Bytes of an answer about all 63 slab classes, with room: some 30 lines of 40 bytes each."""
_WATCH_END = re.compile(rb"")
_ANSWER_S = 5.0
_SAMPLE_S = 1.0
"""Seconds for an answer within the window, while log lines wait in the connection's buffer."""
_DENSE_S = 0.2
"""The pause between two samples near the end of the window."""
_POLL_S = 0.25
"""The most seconds until a cancellation is noticed."""
_MOST_BYTES_S = 256 << 20
"""Bytes of a log in a second of the window, at the most: three times what memcached's one logger thread can write."""


def ask_stats(port: MemcachedPort, seconds: float = _ANSWER_S) -> ServerStats:
    """Return the counters of the memcached behind a connection. Raises `HostError`."""
    answer = port.ask(b"stats", _STATS_END, seconds=seconds, most=_MOST_STATS)
    stats = parse_stats(answer)
    if stats is not None:
        return stats
    first = answer.split(b"\n", 1)[0][:80].decode("ascii", "backslashreplace").strip()
    if b"unauthenticated" in answer[:200]:
        raise EndpointFailure.AUTHENTICATION.error(f"memcached answers `{first}`")
    raise EndpointFailure.NOT_MEMCACHED.error(f"the endpoint answers `{first}` to `stats`")


def is_proxy(port: MemcachedPort) -> bool:
    """Return whether memcached is in proxy mode. Raises `HostError`."""
    answer = port.ask(b"stats settings", _STATS_END, seconds=_ANSWER_S, most=_MOST_STATS)
    return re.search(rb"^STAT proxy_enabled yes\r?$", answer, re.MULTILINE) is not None


def ask_watch(port: MemcachedPort) -> str | None:
    """Begin to watch; return memcached's answer where it refuses. Raises `HostError`."""
    answer = port.ask(b"watch fetchers", _WATCH_END, seconds=_ANSWER_S, most=200)
    text = answer.decode("ascii", "backslashreplace").strip()
    if text != "OK":
        return text
    # The logger's thread writes this answer, and memcached counts none of its bytes.
    port.answered -= len(answer)
    return None


@dataclass(eq=False)
class EndpointTrace:
    """One window of one endpoint. `stop` and `close` are safe from another thread."""

    stats_port: MemcachedPort
    watch_port: MemcachedPort
    settings: TraceSettings
    pid: int
    watching: bool = True
    """memcached logs to `watch_port`; if not, sample the counters only."""
    samples: list[Sample] = field(default_factory=list)
    refusal: str = ""
    """Why the window ended early."""
    skipped: int = 0
    """Lines that memcached reports as dropped."""
    classes: list[ClassSample] = field(default_factory=list)
    _evictions: int | None = None
    """Of all classes, by the last sample."""
    _stopped: threading.Event = field(default_factory=threading.Event)
    _abandoned: bool = False
    _ended: bool = False
    """memcached has closed the connection."""
    _silent: bool = False
    """An answer came too late, so the rest of it would be taken for the next one."""

    def stop(self) -> None:
        """End the window now, and read the lines that memcached has not written yet."""
        self._stopped.set()

    def close(self) -> None:
        """End the window now, and wait for nothing."""
        self._abandoned = True
        self._stopped.set()

    def items(self, keys: Sequence[Key]) -> dict[Key, ItemFacts]:
        """Return what memcached reports about some keys, after the window. Raises nothing."""
        if self._ended or self._silent:
            return dict.fromkeys(keys, ItemFacts(gap=ItemGap.NO_ANSWER))
        return ask_items_of_port(self.stats_port, keys)

    def sample(self) -> None:
        """Sample the counters. A memcached that fails to answer is not asked again."""
        if self._ended or self._silent:
            return
        ports = (self.stats_port, self.watch_port)
        written = sum(port.answered for port in ports)
        before = time.monotonic_ns()
        try:
            stats = ask_stats(self.stats_port, _SAMPLE_S)
        except HostError as error:
            self._fail(error)
            return
        self._evictions = stats.others.get("evictions")
        taken = time.monotonic_ns() - before
        own = {
            "bytes_read": sum(port.asked for port in ports),
            # memcached counts an answer after it has written it.
            "bytes_written": written,
            "total_connections": len(ports),
            "curr_connections": len(ports),
        }
        at = before + taken // 2
        self.samples.append(Sample(self.pid, at, None, stats.requests, taken // 2 + 1, counters=stats.counters(own)))

    def sample_classes(self) -> None:
        """Sample the evictions of each slab class, right after a sample of the counters."""
        answers = []
        for command in (b"stats items", b"stats slabs"):
            if self._ended or self._silent:
                return
            try:
                answers.append(self.stats_port.ask(command, _STATS_END, seconds=_SAMPLE_S, most=_MOST_CLASSES))
            except HostError as error:
                self._fail(error)
        if len(answers) == 2:
            taken = ClassSample(self.pid, time.monotonic_ns(), self._evictions, parse_classes(*answers))
            self.classes.append(taken)

    def _fail(self, error: HostError) -> None:
        self._ended = error.code == EndpointFailure.LOST.code
        self._silent = not self._ended

    def run(self, on_start: Callable[[], None]) -> TraceEnd:
        """Trace to the end of the window. Raises `HostError` for impossible data."""
        duration, log = self.settings.duration_s, LookupLog(self.settings.keys)
        if not self.watching:
            self.sample()
        start_ns = time.monotonic_ns()
        self.sample()
        on_start()
        self._listen(log, duration, max(1.0, duration / 36))
        end_ns = time.monotonic_ns()
        window_s = (end_ns - start_ns) / 1e9
        log.end_window(time.time())
        self.sample()
        self._stopped.clear()
        if not self.refusal and not self._abandoned:
            self._listen(log, FLUSHED_S if self.watching else _DENSE_S, _DENSE_S)
        self.sample()
        self.sample_classes()
        self.skipped = log.skipped
        span = counted(self.samples, start_ns, end_ns)
        likely = log.total if self.watching else self._growth(start_ns, end_ns)
        summary = self._summary(log, None if span is None else span.nearest(likely), window_s)
        return TraceEnd(
            complete=window_s >= duration * 0.98,
            broken=bool(self.refusal),
            window_s=window_s,
            summaries={self.pid: summary},
            alive=set() if self._ended else {self.pid},
            implausible=set(),
            start_ns=start_ns,
            samples={self.pid: self.samples},
            classes={self.pid: (self.classes[0], self.classes[-1])} if self.classes else {},
            error_text=self.refusal,
        )

    def _growth(self, start_ns: int, end_ns: int) -> int:
        """Return how much the counters grew between the samples nearest to two moments."""
        known = [(sample.ns, sample.requests) for sample in self.samples if sample.requests is not None]
        if not known:
            return 0
        first, last = (min(known, key=lambda each: abs(each[0] - moment))[1] for moment in (start_ns, end_ns))
        return last - first

    def _listen(self, log: LookupLog, seconds: float, pause: float) -> None:
        """Read the log for some seconds, and sample the counters at each `pause`."""
        now = time.monotonic()
        end, due = now + seconds, now + pause
        most = int((seconds + 1) * _MOST_BYTES_S)
        while (now := time.monotonic()) < end and not self._stopped.is_set() and not self._abandoned:
            if now >= due:
                self.sample()
                due = time.monotonic() + pause
            wait = max(0.0, min(end, due, now + _POLL_S) - now)
            if not self.watching:
                self._stopped.wait(wait)
                continue
            try:
                data = self.watch_port.read(wait)
            except HostError as error:
                lost = error.code == EndpointFailure.LOST.code
                self.refusal = "memcached closed the connection" if lost else error.message
                return
            most -= len(data)
            if most < 0:
                self.refusal = "the endpoint sends more lines than memcached can write"
                return
            log.feed(data, time.time())

    def _summary(self, log: LookupLog, requests: int | None, window_s: float) -> Summary:
        bound = MAX_RATE * (window_s + 1)
        if max(log.total, log.skipped, requests or 0) > bound:
            what = ImplausibleError(f"more requests than memcached can serve in {window_s:.3g} s")
            raise implausible(what)
        if not self.watching:
            if requests is None:
                message = (
                    "memcached refuses `watch`, and did not report its counters until the end of the window, so its "
                    "requests are unknown; trace it for longer"
                )
                raise HostError(HostState.TRACE_FAILED, "watch-failed", message)
            return Summary(requests, requests, {}, [requests])
        return log.summary(requests)
