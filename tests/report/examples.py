"""Example runs for reports: a realistic fleet with a hot host caused by one key, a key that is warm everywhere, a hot
family without a hot member, a key that begins in the last third, and some failed hosts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from fleettrace.errors import HostState
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import (
    Container,
    Coverage,
    Failure,
    HostResult,
    InstanceResult,
    ProbeVerdict,
    RunInfo,
    RunResult,
    TracingCost,
    Warn,
)

__all__ = ["HOSTILE", "add_host", "failed", "new_run", "realistic", "small"]

BUCKETS = 10
STARTED = datetime(2026, 9, 21, 3, 12, 4, 250_000, tzinfo=UTC)
EXACT = ProbeVerdict("item", True, "do_item_get", 4, False, 1.7, "exact keys, one event per key")

HOSTILE = (
    b"=cmd|' /C calc'!A0",
    b"+1+1",
    b"@SUM(1)",
    b"-2",
    b"[bold red]markup[/]",
    b"\x1b[31mred\x1b[0m\x1b]0;title\x07",
    b"\xc2\x9b31mC1",
    "bidi\u202eetirw\u202c".encode(),
    "zero\u200bwidth\ufeff".encode(),
    b"line\nbreak\r\n\ttab",
    b"bytes\xff\xfe\x80",
    b'quo"te,comma;semi',
    b"<script>alert(1)</script>&amp;",
    b"back\\slash\\n",
    b"pipe|back`tick``",
    "wide-漢字かな-한글".encode(),
    b" spaces at ends ",
    b"x" * 250,
    b"\x00",
    b'label="x"\\',
)
"""Keys that would do harm, or be lost, without escaping."""


def new_run(pattern: str = "cache-*") -> RunResult:
    """Return a run of ten seconds without hosts."""
    info = RunInfo("20260921T031204Z-5f2c", STARTED, pattern, 10.0, "0.1.0", 1.0, STARTED + timedelta(seconds=11.4))
    return RunResult(info)


def count(timeline: list[int], ops: dict[str, int] | None = None, value_bytes: int | None = None) -> KeyCount:
    """Return a count with this timeline."""
    return KeyCount(sum(timeline), 0, ops, None, value_bytes, list(timeline))


def add_host(
    run: RunResult,
    host: str,
    keys: Mapping[bytes, KeyCount],
    *,
    state: HostState = HostState.OK,
    absent: int = 0,
    unlisted: int = 0,
    instance: Callable[[InstanceResult], None] | None = None,
    top: int = 20,
) -> HostResult:
    """Add a traced host with one instance, these keys and `unlisted` requests of others to the run."""
    timeline = [0] * BUCKETS
    for known in keys.values():
        timeline = [a + b for a, b in zip(timeline, known.timeline + [0] * BUCKETS, strict=False)]
    timeline = [bucket + unlisted // BUCKETS for bucket in timeline]
    timeline[0] += unlisted % BUCKETS
    listed = {Key.whole(data): known.copy() for data, known in keys.items()}
    for known in listed.values():
        known.covered = absent
    summary = Summary(sum(timeline), absent, listed, timeline)
    result = InstanceResult(
        4242, state, "/usr/bin/memcached", EXACT, None, "1.6.18", "6f0c" * 10, (11211,), "memcache", 10.0
    )
    result.requests, result.absent = summary.total, absent
    result.coverage = Coverage(summary.total + 7, summary.total)
    result.cost = TracingCost(7.3, 9.0, 0.8)
    if instance is not None:
        instance(result)
    run.fleet.add_host(run.info.id, host, {"4242": summary})
    hottest = sorted(((key, known.requests) for key, known in listed.items()), key=lambda item: (-item[1], item[0]))
    made = HostResult(host, state, None, [result], hottest[:top], timeline)
    run.hosts.append(made)
    return made


def failed(run: RunResult, host: str, state: HostState, code: str, message: str) -> None:
    """Add a host without traffic to the run."""
    run.hosts.append(HostResult(host, state, Failure(code, message)))


def spread_over(total: int, rng: random.Random) -> list[int]:
    """Spread `total` requests over the buckets, evenly with some noise."""
    weights = [rng.uniform(0.9, 1.1) for _ in range(BUCKETS)]
    timeline = [int(total * weight / sum(weights)) for weight in weights]
    timeline[-1] += total - sum(timeline)
    return timeline


def small() -> RunResult:
    """Return a run of two hosts with exact counts, nothing missing."""
    run = new_run("all")
    get = {"get": 900, "set": 100}
    add_host(run, "cache-001", {b"a": count([100] * 10, get, 6400), b"b": count([50] * 10)}, unlisted=0)
    add_host(run, "cache-002", {b"a": count([100] * 10, get, 6400), b"c": count([20] * 10)}, unlisted=0)
    return run


def realistic(hosts: int = 64, seed: int = 1) -> RunResult:
    """Return a run of a fleet of `hosts`; cache-003, -040 and -041 failed, cache-017 is hot by `user:1:profile`."""
    rng = random.Random(seed)
    run = new_run()
    for number in range(1, hosts + 1):
        host = f"cache-{number:03d}"
        if number == 3:
            failed(
                run,
                host,
                HostState.BECOME_FAILED,
                "sudo-password",
                "sudo asks for a password: set `become_password` in the inventory, or allow bpftrace without one",
            )
        elif number in (40, 41):
            failed(run, host, HostState.UNREACHABLE, "connect", "no route to 10.3.0.40 port 22")
        else:
            add_host(
                run,
                host,
                _keys(number, rng),
                absent=rng.randrange(3, 9),
                unlisted=rng.randrange(9_000, 11_000),
                instance=_container(number),
            )
    run.warnings.append(Warn("window-short", "the window was cut to 6.1 s to stay below --max-cost 50%", "cache-017"))
    return run


def _container(number: int) -> Callable[[InstanceResult], None]:
    def change(instance: InstanceResult) -> None:
        if number % 2:
            instance.container = Container("docker", f"{number:012x}", f"mc-{number}", "memcached:1.6.45")

    return change


def _keys(number: int, rng: random.Random) -> dict[bytes, KeyCount]:
    keys: dict[bytes, KeyCount] = {}
    warm = spread_over(rng.randrange(4_500, 5_500), rng)
    keys[b"config:feature-flags"] = count(warm, {"get": sum(warm)}, None)
    for member in range(60):
        timeline = spread_over(rng.randrange(40, 60), rng)
        keys[f"sess:{rng.getrandbits(64):016x}{member % 10}".encode()] = count(timeline, {"get": sum(timeline)}, None)
    for rank in range(1, 30):
        timeline = spread_over(9_000 // (rank + 3) + rng.randrange(60), rng)
        gets = int(sum(timeline) * 0.96)
        ops = {"get": gets, "set": sum(timeline) - gets}
        name = f"pod{number % 4}:rails:{rng.randrange(100):02d}::feature:{number}-{rank}"
        keys[name.encode()] = count(timeline, ops, ops["set"] * 812)
    if number == 17:
        hot = spread_over(48_000, rng)
        keys[b"user:1:profile"] = count(hot, {"get": 47_520, "set": 480}, 480 * 2_048)
    if number in (8, 9):
        keys[b"promo:2026-09-21:banner"] = count([0] * 7 + [1_900, 3_900, 4_100], {"get": 9_900}, None)
    if number == 22:
        keys[b"lock:\x1b[31mreindex\xff"] = count([30] * 4 + [5_000] + [30] * 5, {"arith": 5_270}, None)
    return keys
