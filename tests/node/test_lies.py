"""Whatever a node sends, its host fails with a code of its own, and neither time nor memory runs away."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.node.discovery import parse_discovery
from fleettrace.node.output import Entry
from fleettrace.node.plausible import IMPLAUSIBLE, MAX_INSTANCES, MAX_RATE, ImplausibleError
from fleettrace.node.records import MAX_RECORDS, MAX_TAG, RecordReader
from fleettrace.node.request_rates import _rates_from
from fleettrace.node.samples import Sample, SampleReader
from fleettrace.node.trace_end import TraceEnd
from fleettrace.node.tracing import HostTrace
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.selection import preview
from tests.node.bpftrace_text import NONCE, Printed, chunked, render, shown
from tests.node.reports import LAYOUT, PID, SECOND, START, N, Sent, entry, instance, node, report


def traced(body: bytes, *, records: bytes = b"", duration_s: float = 2.0, size: int = 32 * 1024) -> TraceEnd:
    plan = preview(ProbeOptions())
    trace = HostTrace(["bpftrace"], [(instance(), plan)], LAYOUT, TraceSettings(duration_s), nonce=NONCE)
    text = report(body, records=records)
    return trace.read(Sent(*chunked(text, range(size, len(text), size))))


def test_reused_pid_is_not_the_planned_process() -> None:
    stat = b"7 7 (memcached) S" + b" 1" * 18 + b" %d 1\0"
    for start, alive in ((6, set()), (5, {PID})):
        records = b"process-before\0" + stat % start + b"process-after\0" + stat % start
        assert traced(one(1, entry(b"k", 1)) + last(), records=records).alive == alive


def refused(body: bytes, *, records: bytes = b"") -> str:
    """The message of a host that is refused for it."""
    with pytest.raises(HostError) as caught:
        traced(body, records=records)
    assert (caught.value.state, caught.value.code) == (HostState.TRACE_FAILED, "implausible-output")
    assert len(caught.value.message) < 400
    return caught.value.message


def slices(*some: Printed) -> bytes:
    return render(some, LAYOUT.piece, LAYOUT.pieces)


def one(total: int, *entries: Entry, end_ns: int = START + SECOND, pid: int = PID) -> bytes:
    return slices(Printed("a", end_ns, {pid: total}, entries))


def last(total: int = 1) -> bytes:
    return one(total, entry(b"k", total), end_ns=START + 2 * SECOND).replace(b" slice ", b" last ")


def test_honest_output_is_taken() -> None:
    end = traced(one(384, entry(b"k", 384)) + last(5))
    assert end.complete
    assert end.summaries[PID].total == 389


@pytest.mark.parametrize("digits", [b"%d" % 2**63, b"%d" % 2**64, b"%d" % 2**70, b"1" + b"0" * 300, b"1" * 5000])
def test_total_that_no_kernel_counts_is_refused(digits: bytes) -> None:
    refused(one(5, entry(b"k", 5)).replace(b"]: 5\n", b"]: " + digits + b"\n", 1))


def test_impossible_request_rate_is_refused() -> None:
    refused(one(MAX_RATE * 2, entry(b"k", 5)))


def test_key_counted_more_than_the_total_is_refused() -> None:
    assert "5000000" in refused(one(5, entry(b"k", 5_000_000)) + last())


def test_some_late_counts_beyond_the_total_are_taken() -> None:
    assert traced(one(5, entry(b"k", 9)) + last()).summaries[PID].total == 6


def test_key_without_a_total_is_refused() -> None:
    refused(slices(Printed("a", START + SECOND, {}, [entry(b"k", 5_000)])) + last())


@pytest.mark.parametrize("end_ns", [300_000_000_000_000_000, START + 300 * SECOND, START - 2 * SECOND, 2**64])
def test_slice_outside_of_the_window_is_refused(end_ns: int) -> None:
    refused(one(1, entry(b"k", 1), end_ns=end_ns) + last())


def test_slices_that_go_back_in_time_are_refused() -> None:
    refused(one(1, entry(b"k", 1), end_ns=START + 2 * SECOND) + one(1, entry(b"k", 1), end_ns=START + SECOND // 2))


def test_time_far_ahead_makes_no_long_window() -> None:
    end = traced(one(1, entry(b"k", 1)) + b"@now_%b: 300000000000000000\n@w_%b: 1\n" % (N, N))
    assert end.window_s < 300


def test_counts_of_another_process_are_refused() -> None:
    refused(one(5, entry(b"k", 5, pid=8), pid=8) + last())


def test_more_misses_than_requests_are_refused() -> None:
    plan = preview(ProbeOptions(misses=True))
    trace = HostTrace(["bpftrace"], [(instance(), plan)], LAYOUT, TraceSettings(2.0), nonce=NONCE)
    body = (
        one(5, entry(b"k", 5))
        + last()
        + b"@m_%b[%d, 107, 0, 0, 0, 0, 0, 0, 0, 0]: 5000\n#%b end\n" % (N, PID << 32 | 1, N)
    )
    with pytest.raises(HostError, match="misses"):
        trace.read(Sent(report(body).replace(b"Attaching 4", b"Attaching 5")))


@pytest.mark.parametrize("records", [b"process-before\0%b 1\0" % (b"1" * 5000), b"process-before\0x (a) S\0"])
def test_odd_records_of_processes_are_passed_over(records: bytes) -> None:
    stat = b") S" + b" 1" * 10 + b" " + b"9" * 5000 + b" 1 1\0"
    records += b"shell-before\0001 (sh" + stat + b"shell-after\0001 (sh" + stat + b"clocks\0%b.00 1\0" % (b"9" * 5000)
    assert traced(one(1, entry(b"k", 1)) + last(), records=records).tracer_cpu_s is None


def test_two_million_unknown_records_are_refused_quickly() -> None:
    began = time.process_time()
    refused(last(), records=b"unknown\0value\0" * 2_000_000)
    assert time.process_time() - began < 5


def seconds(feed: bytes) -> float:
    """CPU seconds that a reader of records takes to refuse or read this."""
    began = time.process_time()
    reader = RecordReader()
    try:
        for chunk in chunked(feed, range(32 * 1024, len(feed), 32 * 1024)):
            for _ in reader.feed(chunk):
                pass
    except ImplausibleError:
        pass
    return time.process_time() - began


def test_a_megabyte_of_nuls_takes_no_time() -> None:
    assert seconds(b"\0" * (1 << 20)) < 1


def test_bytewise_value_takes_linear_time() -> None:
    began = time.process_time()
    reader = RecordReader()
    for _ in range(300_000):
        list(reader.feed(b"x" if reader._tag is not None else b"t\0"))
    assert time.process_time() - began < 3


@pytest.mark.parametrize("text", [b"t" * (MAX_TAG + 1), b"t\0v\0" * (MAX_RECORDS + 1)])
def test_long_tags_and_too_many_records_are_refused(text: bytes) -> None:
    with pytest.raises(ImplausibleError):
        list(RecordReader().feed(text))


def seconds_between_samples(chunks: int) -> float:
    """CPU seconds that so many chunks of NULs take, and the sample behind them."""
    began = time.process_time()
    reader = SampleReader()
    for _ in range(chunks):
        reader.feed(b"\0" * (32 * 1024))
    reader.feed(b"x" * 200 + b"\x0012 100 104 77 5\0")
    assert [sample.pid for sample in reader.samples] == [12]
    return time.process_time() - began


def test_nuls_between_samples_take_linear_time() -> None:
    assert seconds_between_samples(32) < 6 * seconds_between_samples(8) + 0.1


def peak_of(body: bytes, outcome: str) -> int:
    """Bytes of memory that a trace takes at the most, its output not counted."""
    text = report(body)
    chunks = chunked(text, range(32 * 1024, len(text), 32 * 1024))
    settings = TraceSettings(2.0, printed=50, entries=1024)
    trace = HostTrace(["bpftrace"], [(instance(), preview(ProbeOptions()))], LAYOUT, settings, nonce=NONCE)
    tracemalloc.start()
    try:
        if outcome == "refused":
            with pytest.raises(HostError) as caught:
                trace.read(Sent(*chunks))
            assert caught.value.code == IMPLAUSIBLE
        else:
            trace.read(Sent(*chunks))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def many(name: bytes, number: int) -> bytes:
    keys = (b"key:%08d" % index for index in range(number))
    texts = (key if name == b"c" else shown(key, LAYOUT.piece, LAYOUT.pieces) for key in keys)
    return b"".join(b"@%b_%b[%d, %b]: 1\n" % (name, N, PID << 32 | 12, text) for text in texts)


def test_endless_entries_of_other_map_are_refused() -> None:
    assert peak_of(many(b"b", 60_000), "refused") < 4 << 20


def test_early_end_stores_only_largest_entries() -> None:
    stopped = b"@na_%b[7]: 60000\n@now_%b: %d\n@w_%b: 1\n" % (N, N, START + SECOND, N)
    assert peak_of(many(b"a", 30_000) + stopped, "taken") < 4 << 20
    end = traced(many(b"a", 60_000) + stopped)
    summary = end.summaries[PID]
    assert (summary.total, summary.absent) == (60_000, 1)
    assert len(summary.keys) == 200


def test_a_final_map_without_slices_is_bounded() -> None:
    assert peak_of(many(b"c", 60_000), "refused") < 4 << 20


def test_complete_slice_with_too_many_entries_is_refused() -> None:
    body = one(5000).replace(b"#%b end\n" % N, many(b"a", 5000) + b"#%b end\n" % N)
    assert "entries in one slice" in refused(body + last())


def test_endless_slices_are_refused() -> None:
    assert "slices" in refused(one(1) * 400)


def test_endless_totals_are_refused() -> None:
    refused(b"".join(b"@na_%b[%d]: 1\n" % (N, pid) for pid in range(100)) + last())


def test_a_trace_starts_once() -> None:
    refused(b"#%b start %d\n" % (N, START) + last())


# What discovery reports.


def code_of(text: bytes) -> str:
    with pytest.raises(HostError) as caught:
        parse_discovery(text)
    assert caught.value.state is HostState.TRACE_FAILED
    assert len(caught.value.message) < 400
    return caught.value.code


def test_an_honest_discovery_is_taken() -> None:
    [found] = parse_discovery(node({})).instances
    assert (found.pid, found.ports) == (7, (11211,))


@pytest.mark.parametrize("field", [b"process", b"start"])
@pytest.mark.parametrize("number", [b"4" * 25, b"4" * 4000, b"4" * 5000])
def test_numbers_of_thousands_of_digits_are_refused(field: bytes, number: bytes) -> None:
    assert code_of(node({field: number})) == "implausible-output"


@pytest.mark.parametrize("listens", [b"0100007F:" + b"1" * 4000, b"0" * 5000 + b":2BCB", b"0100007F:-1"])
def test_odd_addresses_are_refused(listens: bytes) -> None:
    assert code_of(node({b"listens": listens})) == "discovery-garbled"


def test_endless_sockets_are_refused() -> None:
    assert code_of(node({b"listens": b"0100007F:2BCB " * 5000})) == "implausible-output"


def test_endless_cpus_are_refused() -> None:
    assert code_of(node({}, possible=b"0-" + b"9" * 5000)) == "implausible-output"


def test_one_process_twice_is_refused() -> None:
    assert code_of(node({}, {})) == "implausible-output"


def test_endless_instances_are_refused() -> None:
    began = time.process_time()
    text = node(*({b"process": b"%d" % (pid + 2)} for pid in range(MAX_INSTANCES + 1)))
    assert code_of(text) == "implausible-output"
    assert code_of(node() + b"process\0x\0" * 150_000 + b"end\0x\0") == "implausible-output"
    assert time.process_time() - began < 10


@pytest.mark.parametrize("listing", [b'{"containers": ' + b"[" * 100_000, b'{"containers": [' + b"1" * 5000 + b"]}"])
def test_odd_listings_of_containers_are_passed_over(listing: bytes) -> None:
    text = node({}).removesuffix(b"end\0001\0") + b"containers-crictl\0%b\0end\0001\0" % listing
    assert len(parse_discovery(text).instances) == 1


# What memcached's own `stats` say.


def rate_of(requests: int, cpu_ns: int) -> float | None:
    samples = [Sample(PID, START, 1, 0), Sample(PID, START + SECOND // 3, 1 + cpu_ns, requests)]
    return _rates_from({PID: None}, samples).rates.get(PID)


def test_a_rate_beyond_any_memcached_is_unknown() -> None:
    assert rate_of(10**18, 10 * SECOND) is None


def test_rate_above_cpu_time_is_unknown() -> None:
    assert rate_of(10_000_000, 1_000_000) is None
    assert rate_of(30_000, 60_000_000) == pytest.approx(90_000)


def test_a_counter_beyond_63_bits_is_unknown() -> None:
    reader = SampleReader()
    reader.feed(b"\0007 100 101 5 9999999999999999999\0")
    assert reader.samples[0].requests is None
