"""A run file is read as it was written: hosts, counts, bounds, and the report."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings

from fleettrace.report.build import build_report
from fleettrace.report.formats import Output
from fleettrace.report.model import Report
from fleettrace.store.runfile.merge import read_merged
from fleettrace.store.runfile.reader import read_run_file
from fleettrace.store.runfile.run_result import run_result
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult, Warn
from tests.store.runs import Swept, host_result, info, runs, write


def original(swept: Swept) -> RunResult:
    """Return the result of the run itself."""
    result = RunResult(info(swept.run))
    for host, counted in swept.hosts:
        result.hosts.append(host)
        result.fleet.add_host(swept.run, host.host, counted)
        result.warnings.append(Warn("odd", f"{host.host} is odd", host.host))
    return result


def rendered(report: Report) -> dict[Output, str]:
    """Return the report in every format."""
    import io

    texts = {}
    for output in Output:
        stream = io.StringIO()
        output.formatter().write(report, stream)
        texts[output] = stream.getvalue()
    return texts


@settings(max_examples=60, deadline=None)
@given(runs)
def test_every_count_is_restored(swept: Swept) -> None:
    with TemporaryDirectory() as directory:
        read = read_run_file(write(Path(directory, "run"), swept))
        found = [
            (record.result, {name: counted.summary() for name, counted in record.counted.items()})
            for record in read.hosts
        ]
    assert found == swept.hosts
    assert read.runs == [info(swept.run)]


@settings(max_examples=25, deadline=None)
@given(runs)
def test_run_file_gives_equal_report(swept: Swept) -> None:
    with TemporaryDirectory() as directory:
        kept = run_result(read_merged([write(Path(directory, "run"), swept)]))
    assert rendered(build_report(kept)) == rendered(build_report(original(swept)))


def big_summary(rows: int) -> Summary:
    keys = {
        Key.whole(b"key:%d" % number): KeyCount(1 + rows // (1 + number), 3, {"get": number}, None, 7, [number, 1])
        for number in range(rows)
    }
    return Summary(sum(count.requests for count in keys.values()), 5, keys, [1, 2, 3])


def test_blocks_hold_any_number_of_rows(tmp_path: Path) -> None:
    for rows in (0, 1, 255, 256, 257, 768, 769, 5000):
        summary = big_summary(rows)
        path = write(tmp_path / "run", Swept("r", [(host_result("c1", {"1@1": summary}), {"1@1": summary})]))
        (record,) = read_run_file(path).hosts
        assert record.counted["1@1"].summary() == summary


def test_first_block_has_hottest_keys(tmp_path: Path) -> None:
    summary = big_summary(5000)
    path = write(tmp_path / "run", Swept("r", [(host_result("c1", {"1@1": summary}), {"1@1": summary})]))
    (record,) = read_run_file(path).hosts
    blocks = record.counted["1@1"].blocks
    assert [block.rows for block in blocks] == [256, 512, 1024, 2048, 1160]
    assert [block.most for block in blocks] == sorted((block.most for block in blocks), reverse=True)
    assert blocks[0].most == 5001


def test_file_is_gzipped_json_lines(tmp_path: Path) -> None:
    summary = Summary(9, 2, {Key.whole(b"a\xff\n"): KeyCount(7, 2), Key(b"long", 300): KeyCount(2, 2)})
    path = write(tmp_path / "run", Swept("r", [(host_result("c1", {"1@1": summary}), {"1@1": summary})]))
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert [line["kind"] for line in lines] == ["header", "host", "fingerprints", "counts", "details", "end"]
    assert lines[3]["key"] == ["a\xff\n", "long"]
    assert lines[3]["length"] == [None, 300]
    assert lines[3]["requests"] == [7, 2]
    assert lines[3]["covered"] == 2


def test_run_file_is_deterministic(tmp_path: Path) -> None:
    summary = big_summary(300)
    swept = Swept("r", [(host_result("c1", {"1@1": summary}), {"1@1": summary})])
    assert write(tmp_path / "a", swept).read_bytes() == write(tmp_path / "b", swept).read_bytes()
