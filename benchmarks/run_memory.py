"""Measure the controller's memory for a run of 50 hosts without common keys, with all hosts' traces in memory at once.

python -m benchmarks.run_memory [--hosts 50] [--keys 60000]
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterator

from fleettrace.node.tracing import HostTrace
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.selection import preview
from fleettrace.summary.counts import Summary
from fleettrace.summary.fleet import FleetSummary
from fleettrace.sweep.settings import FLEET_KEYS, keys_per_host, printed_entries
from tests.node.bpftrace_text import NONCE, Printed, render
from tests.node.reports import LAYOUT, PID, SECOND, START, Sent, entry, instance, report

CHUNK = 32 * 1024


def output(host: int, keys: int, printed: int) -> bytes:
    """Return the output of a host's trace: slices of `printed` keys each, without common keys."""

    def slices() -> Iterator[bytes]:
        for number in range(keys // printed):
            entries = [entry(b"host%02d:%012d" % (host, number * printed + index), 3) for index in range(printed)]
            one = Printed("ab"[number % 2], START + (number + 1) * SECOND, {PID: 3 * printed + 50}, entries)
            text = render([one], LAYOUT.piece, LAYOUT.pieces)
            yield text if number + 1 < keys // printed else text.replace(b" slice ", b" last ", 1)

    return report(b"".join(slices()))


def read(host: int, keys: int, settings: TraceSettings) -> Summary:
    """Read one host's trace and return its summary."""
    text = output(host, keys, settings.printed)
    trace = HostTrace(["bpftrace"], [(instance(), preview(ProbeOptions()))], LAYOUT, settings, nonce=NONCE)
    end = trace.read(Sent(*(text[start : start + CHUNK] for start in range(0, len(text), CHUNK))))
    return end.summaries[PID]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--keys", type=int, default=60_000)
    given = parser.parse_args()
    printed = printed_entries(given.hosts)
    settings = TraceSettings(given.keys / printed, printed=printed, keys=keys_per_host(given.hosts, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    summaries = [read(host, given.keys, settings) for host in range(given.hosts)]
    fleet = FleetSummary()
    for host, summary in enumerate(summaries):
        fleet.add_host("run", f"h{host}", {"7": summary})
        fleet.bound(FLEET_KEYS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{given.hosts} hosts of {given.keys} keys: {len(fleet.keys)} keys stored, {fleet.total} requests counted")
    print(f"peak {peak / 1024:.0f} MB resident, of which {before / 1024:.0f} MB before the first host")


if __name__ == "__main__":
    main()
