"""Another controller can read the file of a detached run, and no other user can."""

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
    directory="/run/fleettrace-0123456789ab",
    nonce="0a1b2c3d",
    planned=PLANNED,
    layout=KeyLayout(71, 4, 72, plus_one=True),
    bounds=TraceSettings(10.0),
    samples=(Sample(7, 1, None, 3), Sample(7, 2, 5, None, 1)),
    warnings=(Warn("clock-skew", "its clock", "plain"),),
    failure=Failure("memcached-unreadable", "no"),
    clock=NodeClock(1.0, 0.5, 2, 3.0, None),
    ends=1e9,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.left"


def written(path: Path) -> DetachedRunFile:
    file = DetachedRunFile(path)
    file.write_run(INFO, ["plain", "two"])
    return file


def test_written_run_reads_back_equal(path: Path) -> None:
    file = written(path)
    file.write_left(TRACE)
    file.write_left(replace(TRACE, host="two"))
    file.write_collected("two")
    assert read_detached_run(path) == DetachedRun(INFO, ("plain", "two"), {"plain": TRACE})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.close()
    assert path.exists()


def test_last_collected_trace_removes_the_file(path: Path) -> None:
    file = written(path)
    file.write_left(TRACE)
    file.write_collected("plain")
    file.close()
    assert not path.exists()


def test_truncated_line_is_skipped(path: Path) -> None:
    file = written(path)
    file.write_left(TRACE)
    file.write_left(replace(TRACE, host="two"))
    with path.open("r+b") as cut:
        cut.truncate(path.stat().st_size - 10)
    known = read_detached_run(path)
    assert set(known.pending) == {"plain"}
    again = DetachedRunFile(path, known)
    again.write_collected("nobody")
    assert set(read_detached_run(path).pending) == {"plain"}
    again.write_collected("plain")
    again.close()
    assert not path.exists()


def test_file_with_pending_traces_is_not_overwritten(path: Path) -> None:
    written(path).write_left(TRACE)
    with pytest.raises(ConfigError, match="collect them with --resume"):
        DetachedRunFile(path)
    assert set(read_detached_run(path).pending) == {"plain"}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null\n", b'{"schema": "another"}', b"\xff\n", b"x\ny\n"])
def test_reader_rejects_other_files(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.left: not a list of traces"):
        read_detached_run(path)


def with_change(document: Any, names: tuple[str | int, ...], value: object) -> Any:
    """Return the document with another value at one place."""
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
        (("planned", 0, "plan", "probe_kind"), "none"),
        (("planned", 0, "instance", "exe"), "no base64!"),
        (("planned", 0, "instance"), None),
        (("samples", 0), [1, 2]),
        (("layout",), []),
        (("planned",), 5),
    ],
)
def test_decode_rejects_values_of_other_types(names: tuple[str | int, ...], value: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(DetachedTrace, with_change(encode(TRACE), names, value))


def test_full_disk_is_recorded_and_raises_nothing() -> None:
    file = DetachedRunFile(Path("/dev/full"), DetachedRun(INFO, (), {"x": TRACE}))
    file.write_left(TRACE)
    assert file.failed == "/dev/full is not complete: No space left on device"
    file.close()
