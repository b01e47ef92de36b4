"""The facts of items in a report: sizes over hosts, bytes sent, the key that is first by bytes, and each format."""

from __future__ import annotations

import io
import json

import pytest

from fleettrace.report.build import build_report
from fleettrace.report.formats import Output
from fleettrace.report.interface import FormatOptions
from fleettrace.report.items import Items, Sort
from fleettrace.report.redact import Redact, redact
from fleettrace.store.runfile.codec import host_document, host_of
from fleettrace.summary.items import NEVER, ItemFacts, ItemGap
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, new_run

FACTS = ItemFacts(1000, 300, 5, 3, True)


def two_hosts() -> RunResult:
    """Return a run in which `big` sends most bytes, and `small` has most requests."""
    run = new_run()
    for host, size in (("cache-001", 90_000), ("cache-002", 30_000)):
        keys = {b"small": count([240] * 10, {"get": 2400}), b"big": count([40] * 10, {"get": 390, "set": 10})}
        made = add_host(run, host, keys)
        made.items = {
            Key.whole(b"small"): ItemFacts(10, NEVER, 0, 1, True),
            Key.whole(b"big"): ItemFacts(size, 300, 0, 9, True),
        }
    return run


def hostile() -> RunResult:
    run = new_run()
    made = add_host(run, "cache-001", {key: count([index + 1] * 10, {"get": 9}) for index, key in enumerate(HOSTILE)})
    made.items = {Key.whole(key): FACTS for key in HOSTILE}
    made.items[Key.whole(HOSTILE[5])] = ItemFacts(5_000_000, NEVER, 0, 40, False)
    return run


def test_size_is_weighted_over_hosts() -> None:
    report = build_report(two_hosts())
    [big] = [row for row in report.keys if row.key.data == b"big"]
    assert big.bytes_out == 780 * (90_000 + 30_000) // 2
    assert big.item.size in (90_000, 30_000)
    assert big.out_rate == pytest.approx(780 * 60_000 / 10)


def test_heaviest_key_is_named() -> None:
    found = build_report(two_hosts()).by_bytes
    assert found is not None
    assert found.key == Key.whole(b"big")
    assert found.share == pytest.approx(1, abs=0.01)
    assert build_report(two_hosts(), sort=Sort.BYTES).by_bytes is None


def test_heaviest_key_below_the_top_is_named() -> None:
    report = build_report(two_hosts(), top=1)
    assert [row.key.data for row in report.keys] == [b"small"]
    assert report.by_bytes is not None
    text = written(two_hosts(), Output.TABLE, top=1)
    assert "by bytes: big is about 4.68 MB/s, >99% of all bytes" in text
    assert "by requests: below the top 1" in text


def test_nearly_equal_bytes_are_not_worth_a_line() -> None:
    run = two_hosts()
    for host in run.hosts:
        host.items[Key.whole(b"small")] = ItemFacts(8_000, NEVER, 0, 1, True)
    assert build_report(run).by_bytes is None


def test_misses_send_nothing() -> None:
    run = new_run()
    missing = count([10] * 10, {"get": 100})
    missing.misses = 100
    add_host(run, "cache-001", {b"gone": missing}).items = {Key.whole(b"gone"): ItemFacts(gap=ItemGap.ABSENT)}
    [row] = build_report(run).keys
    assert (row.bytes_out, row.unknown) == (0, ItemGap.ABSENT.text)


def test_unknown_kinds_leave_bytes_unknown() -> None:
    run = new_run()
    add_host(run, "cache-001", {b"k": count([10] * 10)}).items = {Key.whole(b"k"): FACTS}
    [row] = build_report(run).keys
    assert (row.item.size, row.bytes_out, row.unknown) == (1000, None, "the kinds of its requests are unknown")


def test_host_that_knows_answers_first() -> None:
    run = two_hosts()
    run.hosts[0].items[Key.whole(b"big")] = ItemFacts(gap=ItemGap.TLS)
    assert Items(run.hosts).facts(Key.whole(b"big")).size == 30_000
    run.hosts[1].items[Key.whole(b"big")] = ItemFacts(gap=ItemGap.TLS)
    assert Items(run.hosts).facts(Key.whole(b"big")).gap is ItemGap.TLS


def test_order_by_misses() -> None:
    run = new_run()
    keys = {key: count([10 * (number + 1)] * 10, {"get": 9}) for number, key in enumerate((b"a", b"b", b"c"))}
    for number, known in enumerate(keys.values()):
        known.misses = 3 - number
    add_host(run, "cache-001", keys)
    assert [row.key.data for row in build_report(run, sort=Sort.MISSES).keys] == [b"a", b"b", b"c"]
    assert [row.key.data for row in build_report(run).keys] == [b"c", b"b", b"a"]


def written(run: RunResult, output: Output, *, top: int = 100, width: int | None = None) -> str:
    text = io.StringIO(newline="")
    output.formatter(FormatOptions(width=width, prometheus_keys=True)).write(build_report(run, top=top), text)
    return text.getvalue()


@pytest.mark.parametrize("output", list(Output))
def test_facts_are_in_every_format(output: Output) -> None:
    text = written(two_hosts(), output)
    assert "10 B" in text or "10" in text
    assert any(shown in text for shown in ("90000", "90.0 kB", "30.0 kB", "30000"))


@pytest.mark.parametrize("output", list(Output))
def test_hostile_keys_stay_harmless(output: Output) -> None:
    text = written(hostile(), output, width=80)
    assert not any(ord(char) < 32 and char not in "\r\n" for char in text)
    assert "\x9b" not in text


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_lines_with_facts_fit_terminal(width: int) -> None:
    from rich.cells import cell_len

    for run in (two_hosts(), hostile()):
        assert max(cell_len(line) for line in written(run, Output.TABLE, width=width).splitlines()) <= width


def test_facts_survive_a_run_file() -> None:
    for host in (*two_hosts().hosts, *hostile().hosts):
        assert host_of(json.loads(json.dumps(host_document(host)))) == host


@pytest.mark.parametrize(
    "row",
    [
        ["k", None, "1", None, None, None, None, None],
        ["k", None, -5, None, None, None, None, None],
        ["k", None, 1 << 60, None, None, None, None, None],
        ["k", None, True, None, None, None, None, None],
        ["k", None, 1, None, None, None, "yes", None],
        ["k", None, 1, None, None, None, None, "because"],
        ["k", None, 1],
    ],
)
def test_wrong_facts_in_a_run_file(row: list[object]) -> None:
    document = {**host_document(two_hosts().hosts[0]), "items": [row]}
    with pytest.raises((TypeError, ValueError)):
        host_of(document)


def test_redaction_renames_and_drops_facts() -> None:
    hidden = redact(hostile(), Redact.HASH, b"x" * 16)
    assert {key for host in hidden.hosts for key in host.items} == {key for host in hidden.hosts for key, _ in host.top}
    assert all(row.item.size for row in build_report(hidden).keys)
    assert all(not host.items for host in redact(hostile(), Redact.DROP, b"").hosts)
