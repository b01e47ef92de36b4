"""The options that decide what is traced, with which program, and for how long."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.app.option_model import Group, Option, switch
from fleettrace.app.option_values import Choice, cores, duration, ops

__all__ = ["DETACH", "EXPLAIN", "LIVE_TRACE", "OF_WHO", "TRACE"]

TRACE = (
    Option("--duration", Group.TRACE, "Length of the trace window.", duration, "10s", "TIME"),
    Option(
        "--probe",
        Group.TRACE,
        "Probe kind: auto takes the best one that the binary and the kernel allow.",
        Choice("auto", "item", "usdt", "command", "syscall", "watch"),
        "auto",
        "KIND",
    ),
    Option(
        "--ops",
        Group.TRACE,
        "Count only these operations: get, set (all stores), delete, arith, touch, other.",
        ops,
        None,
        "OP,...",
    ),
    switch(
        "--misses",
        Group.TRACE,
        "Count misses by key too; some binaries need a return probe for it, which doubles the cost.",
    ),
    switch("--sizes", Group.TRACE, "Sum the bytes of the values written by key: a second probe, on writes only."),
    switch("--clients", Group.TRACE, "Count by client too: the busiest clients of each host, and those of hot keys."),
    Option(
        "--ask",
        Group.TRACE,
        "Command to ask memcached with about the hottest keys after the window: me (touches no item); get fetches each "
        "value once where there is no me.",
        Choice("me", "get"),
        "me",
        "COMMAND",
    ),
    switch("--no-ask", Group.SAFETY, "Do not ask memcached for the size and time to live of the hottest keys."),
    Option("--script", Group.TRACE, "Run this bpftrace program instead (see docs/scripts.md).", metavar="FILE.bt"),
    Option(
        "--max-cost",
        Group.SAFETY,
        "Maximum share of one CPU core that tracing may cost an instance; the window is shortened to stay below it.",
        cores,
        "50%",
        "SHARE",
    ),
    switch(
        "--allow-preemptible",
        Group.SAFETY,
        "Trace also on preemptible kernels from 6.13 on, one of which a trace crashed; counts there certify nothing.",
    ),
)
OF_WHO = ("--duration", "--ops", "--max-cost", "--allow-preemptible")
LIVE_TRACE = (replace(TRACE[0], default="60s"), *(option for option in TRACE[1:] if option.flag != "--clients"))
DETACH = (
    switch(
        "--detach",
        Group.SCHEDULE,
        "Trace all hosts in one window: leave a trace on each host, and collect the results afterwards.",
    ),
    Option(
        "--detach-ttl", Group.SCHEDULE, "Time a host keeps uncollected results of --detach.", duration, "15m", "TIME"
    ),
)
EXPLAIN = switch(
    "--explain", Group.TRACE, "Show each program variant, and why a host's newest check or run took its own."
)
