"""Traces that were left are written down so that another controller can read what they print, and no other user."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fleettrace.errors import ConfigError
from fleettrace.node.detach import NodeClock
from fleettrace.node.model import Endpoint, Instance, NodeBinary
from fleettrace.node.planning import Planned
from fleettrace.node.samples import Sample
from fleettrace.probes.model import KeyLayout, Overlay, ProbeKind, ProbePlan, Script, TraceSettings
from fleettrace.probes.tags import Tagging
from fleettrace.summary.run import Container, Failure, ProbeVerdict, RunInfo, Warn
from fleettrace.sweep.detach_file import DetachedRun, DetachedRunFile, decode, encode, read_detached_run
from fleettrace.sweep.detach_model import DetachedTrace

INFO = RunInfo("run-1", datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "cache-*", 10.0, "0.1.0")
BINARY = NodeBinary("12:34", 99, "ab" * 32)
PLAN = ProbePlan(
    ProbeKind.ITEM,
    "do_item_get",
    ProbeVerdict("item", exact=True, symbol="do_item_get", offset=4, cost=2.5, why="because"),
    "arg0",
    "arg1",
    also=(("other", "arg0", "arg1"),),
    overlay=Overlay(b"\x7fELF"),
    tagging=Tagging("$tag = 1;", (None, "get")),
    ops=frozenset({"set", "get"}),
    misses="do_item_get",
    script=Script("own.bt", "text", "counts", attach_points=("a", "b")),
    names={"a": "b"},
)
PLANNED = (
    Planned(
        Instance(7, 8, BINARY, b"/bin/\xff", "nobody", (1, 2), Container("docker", "ab"), (Endpoint("::1", 1),)),
        PLAN,
        version="1.6.18",
    ),
    Planned(Instance(9, 9, BINARY, b"", None, (), None), failure=Failure("unsupported", "no way")),
)
TRACE = DetachedTrace(
    host="plain",
    folder="/run/fleettrace-0123456789ab",
    nonce="0a1b2c3d",
    planned=PLANNED,
    layout=KeyLayout(71, 4, 72, plus_one=True),
    bounds=TraceSettings(10.0),
    looks=(Sample(7, 1, None, 3), Sample(7, 2, 5, None, 1)),
    warnings=(Warn("clock-skew", "its clock", "plain"),),
    clock=NodeClock(1.0, 0.5, 2, 3.0, None),
    ends=1e9,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.left"


def written(path: Path) -> DetachedRunFile:
    file = DetachedRunFile(path)
    file.begin(INFO, ["plain", "two"])
    return file


def test_what_was_left_comes_back_as_it_was(path: Path) -> None:
    file = written(path)
    file.left(TRACE)
    file.left(replace(TRACE, host="two"))
    file.collected("two")
    assert read_detached_run(path) == DetachedRun(INFO, ("plain", "two"), {"plain": TRACE})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.close()
    assert path.exists()


def test_it_goes_with_the_last_trace_that_is_collected(path: Path) -> None:
    file = written(path)
    file.left(TRACE)
    file.collected("plain")
    file.close()
    assert not path.exists()


def test_a_line_that_was_cut_off_counts_for_nothing_and_the_next_one_stands_alone(path: Path) -> None:
    file = written(path)
    file.left(TRACE)
    file.left(replace(TRACE, host="two"))
    with path.open("r+b") as cut:
        cut.truncate(path.stat().st_size - 10)
    known = read_detached_run(path)
    assert set(known.left) == {"plain"}
    again = DetachedRunFile(path, known)
    again.collected("nobody")
    assert set(read_detached_run(path).left) == {"plain"}
    again.collected("plain")
    again.close()
    assert not path.exists()


def test_traces_that_nobody_has_collected_are_not_written_over(path: Path) -> None:
    written(path).left(TRACE)
    with pytest.raises(ConfigError, match="collect them with --resume, or remove it"):
        DetachedRunFile(path)
    assert set(read_detached_run(path).left) == {"plain"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null\n", b'{"schema": "another"}', b"\xff\n", b"x\ny\n"])
def test_another_file_is_told_from_one(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.left: this is no list of traces"):
        read_detached_run(path)


def with_change(document: Any, names: tuple[str | int, ...], value: object) -> Any:
    """The document with another value at one place."""
    changed = json.loads(json.dumps(document))
    inner = changed
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (("host",), 7),
        (("bounds", "duration_s"), "ten"),
        (("bounds", "printed"), True),
        (("planned", 0, "plan", "rung"), "none"),
        (("planned", 0, "instance", "exe"), "no base64!"),
        (("planned", 0, "instance"), None),
        (("looks", 0), [1, 2]),
        (("layout",), []),
        (("planned",), 5),
    ],
)
def test_a_value_of_another_kind_is_not_taken(names: tuple[str | int, ...], value: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(DetachedTrace, with_change(encode(TRACE), names, value))


def test_a_full_disk_is_said_and_costs_nothing_else() -> None:
    file = DetachedRunFile(Path("/dev/full"), DetachedRun(INFO, (), {"x": TRACE}))
    file.left(TRACE)
    assert file.failed == "/dev/full is not complete: No space left on device"
    file.close()
