"""The log has a line of JSON for every event, no key, and no truncated line of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from fleettrace.errors import ConfigError, HostError, HostState
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import Failure, HostResult, InstanceResult, ProbeVerdict, RunInfo, RunResult
from fleettrace.sweep.event_log import EventLog, fields_of
from fleettrace.sweep.events import (
    Event,
    HostFinished,
    HostProgressed,
    HostRetried,
    HostsSkipped,
    HostStarted,
    InstanceFinished,
    InstanceStarted,
    Phase,
    RunFinished,
    RunStarted,
    SliceArrived,
    StopRequested,
    WaveFinished,
    WaveStarted,
    WindowsStarted,
    broadcast,
)
from fleettrace.sweep.settings import SweepSettings
from fleettrace.sweep.waves import serial
from tests.sweep.fakes import FakeTransport, sweep_of

NOON = datetime(2026, 1, 2, 12, 0, 0, 5000, tzinfo=UTC)
LOST = Failure("connection-lost", "it broke")
SOUND = InstanceResult(7, HostState.OK, "/usr/bin/memcached", ProbeVerdict("item", True), window_s=9.98765, requests=5)
KEYS = {Key(b"secret-customer", 15): KeyCount(5)}
EVERY_EVENT: list[tuple[Event, str]] = [
    (RunStarted("r", 3, 10.0), "run.started"),
    (WaveStarted(1, 2, 1), "wave.started"),
    (HostStarted("a"), "host.started"),
    (HostProgressed("a", Phase.CONNECT), "host.progressed"),
    (HostRetried("a", 1, LOST, 0.5), "host.retried"),
    (InstanceStarted("a", 7), "instance.started"),
    (SliceArrived("a", {"7@1": Summary(5, keys=KEYS)}), "slice.finished"),
    (InstanceFinished("a", SOUND), "instance.finished"),
    (
        InstanceFinished("a", InstanceResult(8, HostState.UNSUPPORTED, "/x", ProbeVerdict(None, False))),
        "instance.failed",
    ),
    (HostFinished("a", HostState.OK, HostResult("a", HostState.OK, top=[(next(iter(KEYS)), 5)])), "host.finished"),
    (HostFinished("b", HostState.UNREACHABLE, HostResult("b", HostState.UNREACHABLE, LOST)), "host.failed"),
    (HostsSkipped(1, 2, "too many"), "wave.failed"),
    (WaveFinished(1, 2, 1), "wave.finished"),
    (StopRequested("deadline"), "run.stopping"),
    (WindowsStarted(2, 0.0123, 0.4, 1.5), "run.window"),
    (RunFinished(RunResult(RunInfo("r", NOON, "all", 10.0, "0"))), "run.finished"),
]


def lines(path: Path) -> list[Any]:
    text = path.read_text("ascii")
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_every_event_type_has_a_name() -> None:
    assert {type(event) for event, _ in EVERY_EVENT} == set(get_args(Event))
    assert [fields_of(event)[0] for event, _ in EVERY_EVENT] == [name for _, name in EVERY_EVENT]


def test_line_has_time_and_run_and_no_key(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with EventLog(path, lambda: NOON) as log:
        for event, _ in EVERY_EVENT:
            log(event)
    assert {(line["time"], line["run"]) for line in lines(path)} == {("2026-01-02T12:00:00.005Z", "r")}
    assert b"secret-customer" not in path.read_bytes()
    [done] = [line for line in lines(path) if line["event"] == "instance.finished"]
    assert (done["pid"], done["kind"], done["requests"], done["window_s"]) == (7, "item", 5, 9.988)


def test_log_appends_after_a_truncated_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"event": "run.fin')
    for _ in range(2):
        with EventLog(path) as log:
            log(RunStarted("r", 1, 1.0))
    assert path.read_text().count("\n") == 3
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()[1:]] == ["run.started"] * 2


def test_message_of_a_host_stays_on_its_line(tmp_path: Path) -> None:
    failure = Failure("trace-failed", 'a "quoted"\n\x1b[31m\u2028 line')
    with EventLog(tmp_path / "log") as log:
        log(HostFinished("b", HostState.TRACE_FAILED, HostResult("b", HostState.TRACE_FAILED, failure)))
    [line] = lines(tmp_path / "log")
    assert line["message"] == failure.message


def test_log_has_the_traceback_of_a_fault(tmp_path: Path) -> None:
    failed = HostResult("b", HostState.TRACE_FAILED, Failure("internal", "oops"))
    with EventLog(tmp_path / "log") as log:
        log(HostFinished("b", failed.state, failed, traceback="Traceback:\n  line\nKeyError: 1\n"))
        log(HostFinished("c", failed.state, failed))
    first, second = lines(tmp_path / "log")
    assert first["traceback"] == "Traceback:\n  line\nKeyError: 1\n"
    assert "traceback" not in second


def test_unwritable_log_raises_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write the log .*: No such file"):
        EventLog(tmp_path / "nowhere" / "log")


def test_full_disk_ends_the_log_only() -> None:
    transport = FakeTransport()
    with EventLog(Path("/dev/full")) as log:
        sweep = sweep_of(transport, ["a", "b"], SweepSettings(), [])
        sweep.subscriber = log
        result = sweep.run()
    assert len(result.hosts) == 2
    assert log.failed == "the log /dev/full is not complete: No space left on device"


def test_log_has_every_event_of_a_sweep(tmp_path: Path) -> None:
    refused = HostError(HostState.AUTH_FAILED, "auth-failed", "login refused")
    events: list[Event] = []
    with EventLog(tmp_path / "log") as log:
        sweep = sweep_of(FakeTransport(refused={"b": refused}), ["a", "b"], SweepSettings(serial=serial("1")), events)
        sweep.subscriber = broadcast(events.append, log)
        sweep.run()
    names = [line["event"] for line in lines(tmp_path / "log")]
    assert len(names) == len(events)
    assert names[:3] == ["run.started", "wave.started", "host.started"]
    assert names[-3:] == ["host.failed", "wave.finished", "run.finished"]
    assert {line["run"] for line in lines(tmp_path / "log")} == {"run-1"}
