"""memcached's own stats in every format: numbers, sentences, and unknown values."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.csv_format import rows
from fleettrace.report.formats import Output
from fleettrace.report.host_remarks import host_remarks, worst_remarks
from fleettrace.report.html.columns import page_data
from fleettrace.report.interface import FormatOptions
from fleettrace.report.json_format import to_json
from fleettrace.report.model import HostRow
from fleettrace.summary.host_stats import NOT_STORED, EvictingClass, HostStats, unknown_stats
from fleettrace.summary.run import InstanceResult, RunResult
from tests.report.examples import add_host, count, failed, new_run
from tests.report.test_json_format import SCHEMA, strict

EVICTING = HostStats(
    seconds=10.0,
    get_hits=900,
    get_misses=100,
    evictions=12_000,
    expired_unfetched=10,
    get_expired=20,
    reclaimed=5,
    new_connections=30,
    rejected_connections=2,
    listen_disabled_num=0,
    conn_yields=0,
    bytes_read=50_000_000,
    bytes_written=350_000_000,
    curr_connections=812,
    max_connections=1024,
    memory_used=60_000_000,
    memory_limit=64_000_000,
    threads=4,
    curr_items=52_000,
    evicting_class=EvictingClass(12, 11_900, 0.99, 11.0, 1_400),
)


def with_stats(stats: HostStats | None) -> Callable[[InstanceResult], None]:
    def change(instance: InstanceResult) -> None:
        instance.stats = stats

    return change


def fleet() -> RunResult:
    run = new_run("cache-*")
    add_host(run, "cache-001", {b"a": count([100] * 10)}, instance=with_stats(None))
    add_host(run, "cache-004", {b"a": count([100] * 10)}, instance=with_stats(EVICTING))
    add_host(run, "\x1b[31mcache-5", {b"a": count([100] * 10)}, instance=with_stats(unknown_stats("no answer")))
    failed(run, "cache-006", HostState.UNREACHABLE, "connect", "no route")
    return run


def table(run: RunResult, *, detail: bool, width: int | None = None) -> str:
    out = io.StringIO()
    Output.TABLE.formatter(FormatOptions(width=width, hosts_detail=detail)).write(build_report(run), out)
    return out.getvalue()


def row_of(*stats: HostStats) -> HostRow:
    run = new_run()
    add_host(run, "cache-004", {b"a": count([1] * 10)})
    (row,) = build_report(run).hosts
    instances = [replace(row.instances[0], stats=one, ports=(11211 + place,)) for place, one in enumerate(stats)]
    return replace(row, instances=tuple(instances))


SENTENCE = "cache-004 evicts 1,200 items/s, nearly all from class 12 (items of about 1.4 kB)"


def test_evictions_are_a_sentence() -> None:
    assert host_remarks(row_of(EVICTING))[0] == SENTENCE
    assert SENTENCE in table(fleet(), detail=False)


@pytest.mark.parametrize(("share", "part"), [(0.95, "nearly all"), (0.6, "mostly"), (0.31, "31%")])
def test_share_of_the_class_is_in_words(share: float, part: str) -> None:
    one = replace(EVICTING, evicting_class=EvictingClass(3, 10, share, 1.0))
    assert host_remarks(row_of(one))[0] == f"cache-004 evicts 1,200 items/s, {part} from class 3"


def test_class_names_its_instance_among_several() -> None:
    assert "from class 12 of port 11212 (" in host_remarks(row_of(replace(EVICTING, evicting_class=None), EVICTING))[0]


def test_refused_connections_are_a_sentence() -> None:
    assert host_remarks(row_of(EVICTING))[1] == "cache-004 reached its limit of 1,024 connections 2 times in the window"


@pytest.mark.parametrize("stats", [unknown_stats("?"), HostStats(10, evictions=9, rejected_connections=0)])
def test_unremarkable_host_has_no_sentence(stats: HostStats) -> None:
    assert host_remarks(row_of(stats)) == []


def test_only_the_worst_hosts_have_sentences() -> None:
    rows = [replace(row_of(replace(EVICTING, evictions=number * 1000)), host=f"h{number}") for number in range(9)]
    remarks, more = worst_remarks(rows, 2)
    assert [remark.split()[0] for remark in remarks] == ["h8", "h8", "h7", "h7"]
    assert more == 7


def test_detail_lists_every_host_with_an_instance() -> None:
    lines = table(fleet(), detail=True).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("MEMCACHED"))
    memory = "60.0 MB of 64.0 MB (94%), 4 threads"
    assert lines[start + 2].split() == f"cache-004 90.0% 1,200 3.0 5.00 MB 35.0 MB 812 3.0 2 0 {memory}".split()
    assert lines[start + 3].split()[0] == "\\x1b[31mcache-5"
    assert lines[start + 4].split()[:3] == ["cache-001", "?", "?"]
    assert "cache-006" not in "".join(lines[start : start + 5])
    assert "MEMCACHED" not in table(fleet(), detail=False)


@pytest.mark.parametrize("width", [80, 120])
def test_detail_fits_the_terminal(width: int) -> None:
    assert max(map(len, table(fleet(), detail=True, width=width).splitlines())) <= width


def test_json_has_each_instance_and_host() -> None:
    document = to_json(build_report(fleet()))
    jsonschema.validate(document, strict(json.loads(SCHEMA.read_text())), cls=jsonschema.Draft202012Validator)
    unknown, known, silent, missing = document["hosts"]
    assert known["stats"]["evictions_rate"] == 1200
    assert known["stats"]["remarks"][0] == SENTENCE
    assert known["instances"][0]["stats"]["evicting_class"]["number"] == 12
    assert known["instances"][0]["stats"]["unknown"] == {}
    for host, reason in ((unknown, NOT_STORED), (silent, "no answer")):
        stats = host["instances"][0]["stats"]
        assert {name for name, value in stats.items() if value is None} == set(stats["unknown"])
        assert set(stats["unknown"].values()) == {reason}
    assert missing["stats"]["evictions_rate"] is None


def test_page_has_the_stats() -> None:
    hosts = page_data(to_json(build_report(fleet())))["hosts"]
    assert hosts["stats"][1]["bytes_out_rate"] == 35e6
    assert hosts["instances"][1][0]["stats"]["hit_ratio"] == 0.9


def test_rows_have_the_stats_of_hosts() -> None:
    hosts = [row for row in rows(build_report(fleet())) if row["kind"] == "host"]
    assert (hosts[1]["evictions_rate"], hosts[1]["bytes_out_rate"], hosts[1]["connections"]) == (1200, 35e6, 812)
    assert {hosts[place]["hit_ratio"] for place in (0, 2, 3)} == {None}


def test_ticket_has_the_sentence() -> None:
    out = io.StringIO()
    Output.MARKDOWN.formatter().write(build_report(fleet()), out)
    assert f"- `{SENTENCE}`" in out.getvalue()


def test_metrics_have_known_stats_only() -> None:
    out = io.StringIO()
    Output.PROMETHEUS.formatter().write(build_report(fleet()), out)
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(out.getvalue())
        for sample in family.samples
        if sample.labels.get("host") == "cache-004"
    }
    assert found["fleettrace_host_evictions_per_second"] == 1200
    assert found["fleettrace_host_sent_bytes_per_second"] == 35e6
    assert found["fleettrace_host_window_refused_connections"] == 2
    assert out.getvalue().count("fleettrace_host_hit_ratio{") == 1
