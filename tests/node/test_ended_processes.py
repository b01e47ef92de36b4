"""A trace that attached nothing calls a process ended only where the node has shown that."""

from __future__ import annotations

import pytest

from fleettrace.node.trace_end import AttachError
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.selection import preview
from tests.node.bpftrace_text import NONCE
from tests.node.reports import LAYOUT, PID, Sent, instance

STAT = b"%d (memcached) %b" + b" 1" * 18 + b" %d 1"
SAME = STAT % (PID, b"S", 5)


def gone(*records: bytes) -> frozenset[int]:
    trace = HostTrace(["bpftrace"], [(instance(), preview(ProbeOptions()))], LAYOUT, TraceSettings(2.0), nonce=NONCE)
    with pytest.raises(AttachError) as caught:
        trace.read(Sent(b"\0".join((*records, b""))))
    return caught.value.gone


@pytest.mark.parametrize(
    ("stat", "ended"),
    [
        (SAME, False),
        (STAT % (PID, b"S", 6), True),
        (STAT % (PID, b"Z", 5), True),
        (b"", True),
    ],
)
@pytest.mark.parametrize("when", [b"before", b"after"])
def test_process_has_ended_where_its_record_shows_that(stat: bytes, ended: bool, when: bytes) -> None:
    records = [b"process-" + when, b"%d " % PID + stat]
    if when == b"after":
        records = [b"process-before", b"%d " % PID + SAME, *records, b"end", b""]
    assert gone(*records) == (frozenset({PID}) if ended else frozenset())


@pytest.mark.parametrize("records", [(), (b"held", b"7 8"), (b"process-before", b"12345 "), (b"end", b"")])
def test_script_that_ended_before_its_records_shows_nothing(records: tuple[bytes, ...]) -> None:
    assert gone(*records) == frozenset()
