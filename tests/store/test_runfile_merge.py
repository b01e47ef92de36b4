"""Merging is associative, commutative and idempotent by run, host and instance: to the byte."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import HostState
from fleettrace.store.runfile.merge import read_merged, save_merged
from fleettrace.store.runfile.run_result import run_result
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult
from tests.store.runs import Swept, host_result, runs, write


def merged_file(place: Path, paths: list[Path]) -> Path:
    save_merged(read_merged(paths), place)
    return place


@settings(max_examples=40, deadline=None)
@given(st.lists(runs, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_merge_order_does_not_change_bytes(parts: list[Swept], rng: random.Random) -> None:
    with TemporaryDirectory() as directory:
        place = Path(directory)
        files = [write(place / f"part-{number}", swept) for number, swept in enumerate(parts)]
        at_once = merged_file(place / "at-once", files).read_bytes()

        heap = list(files)
        while len(heap) > 1:
            rng.shuffle(heap)
            a, b = heap.pop(), heap.pop()
            heap.append(merged_file(place / f"step-{len(heap)}-{a.name[-20:]}", [a, b]))
        assert merged_file(place / "in-steps", heap).read_bytes() == at_once

        again = [*files, *rng.choices(files, k=2), place / "at-once"]
        rng.shuffle(again)
        assert merged_file(place / "again", again).read_bytes() == at_once


@settings(max_examples=25, deadline=None)
@given(st.lists(runs, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_merged_file_equals_its_parts(parts: list[Swept], rng: random.Random) -> None:
    with TemporaryDirectory() as directory:
        files = [write(Path(directory, f"part-{number}"), swept) for number, swept in enumerate(parts)]
        merged = merged_file(Path(directory, "merged"), files)
        rng.shuffle(files)
        assert values(run_result(read_merged(files))) == values(run_result(read_merged([merged])))


def values(result: RunResult) -> object:
    fleet = result.fleet
    return result.info, result.hosts, result.warnings, fleet.total, fleet.absent, fleet.timeline, fleet.rank(100)


def one(key: bytes, requests: int) -> Summary:
    return Summary(requests, 0, {Key.whole(key): KeyCount(requests, timeline=[requests])}, [requests])


def part(place: Path, run: str, host: str, state: HostState, **counted: int) -> Path:
    """Write a file of one host: instance `i7=5` has the pid 7 and 5 requests."""
    summaries = {f"{name[1:]}@1": one(name.encode(), requests) for name, requests in counted.items()}
    return write(place, Swept(run, [(host_result(host, summaries, state), summaries)]))


def test_successful_retry_supersedes_failure(tmp_path: Path) -> None:
    failed = part(tmp_path / "a", "r", "c1", HostState.UNREACHABLE)
    fine = part(tmp_path / "b", "r", "c1", HostState.OK, i7=5)
    (host,) = run_result(read_merged([fine, failed])).hosts
    assert (host.state, host.error, host.requests) == (HostState.OK, None, 5)


def test_complete_record_supersedes_interrupted(tmp_path: Path) -> None:
    cut = part(tmp_path / "a", "r", "c1", HostState.PARTIAL, i7=4)
    whole = part(tmp_path / "b", "r", "c1", HostState.OK, i7=6, i8=1)
    result = run_result(read_merged([cut, whole]))
    assert result.fleet.total == 7
    assert result.hosts[0].requests == 7


def test_instances_of_several_files_are_joined(tmp_path: Path) -> None:
    one_half = part(tmp_path / "a", "r", "c1", HostState.OK, i7=4)
    other_half = part(tmp_path / "b", "r", "c1", HostState.OK, i8=6)
    result = run_result(read_merged([one_half, other_half]))
    assert [instance.pid for instance in result.hosts[0].instances] == [7, 8]
    assert result.hosts[0].requests == result.fleet.total == 10
    assert result.hosts[0].timeline == [10]


def test_top_host_sums_its_instances(tmp_path: Path) -> None:
    def half(place: Path, host: str, pid: int, requests: int) -> Path:
        summaries = {f"{pid}@1": one(b"k", requests)}
        return write(place, Swept("r", [(host_result(host, summaries), summaries)]))

    files = [half(tmp_path / "a", "c1", 7, 6), half(tmp_path / "b", "c2", 7, 4), half(tmp_path / "c", "c2", 8, 4)]
    (ranked,) = run_result(read_merged(files)).fleet.rank(1)
    assert (ranked.top_host, ranked.top_requests, ranked.hosts) == ("c2", 8, 2)


def test_two_runs_add_windows(tmp_path: Path) -> None:
    first = part(tmp_path / "a", "r1", "c1", HostState.OK, i7=40)
    second = part(tmp_path / "b", "r2", "c1", HostState.OK, i7=60)
    result = run_result(read_merged([first, second]))
    (host,) = result.hosts
    assert (host.requests, host.rate, host.instances[0].window_s) == (100, 5.0, 20.0)
    assert result.info.id.startswith("merged-")
    assert result.fleet.rank(1)[0].top_requests == 100
