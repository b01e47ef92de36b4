"""Exit codes of runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleettrace.app.exit_code import exit_code
from fleettrace.errors import HostState
from fleettrace.summary.run import HostResult, InstanceResult, ProbeVerdict, RunInfo, RunResult
from fleettrace.sweep.cancellation import Reason

TRACED = (HostState.OK, HostState.PARTIAL)


def run_of(*states: HostState) -> RunResult:
    result = RunResult(RunInfo("r", datetime.now(UTC), "all", 10.0, "0"))
    for number, state in enumerate(states):
        host = HostResult(f"h{number}", state)
        if state in TRACED:
            host.instances = [InstanceResult(1, state, "/x", ProbeVerdict("item", True), requests=0)]
        result.hosts.append(host)
    return result


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ((HostState.OK, HostState.OK), 0),
        ((HostState.OK, HostState.NO_INSTANCES), 0),
        ((HostState.OK, HostState.PARTIAL), 3),
        ((HostState.PARTIAL,), 3),
        ((HostState.OK, HostState.UNREACHABLE), 3),
        ((HostState.OK, HostState.UNREACHABLE, HostState.HOST_KEY), 4),
        ((HostState.UNREACHABLE,), 4),
        ((HostState.NO_INSTANCES,), 4),
        ((), 4),
    ],
)
def test_exit_code_follows_the_host_states(states: tuple[HostState, ...], code: int) -> None:
    assert exit_code(run_of(*states), 0.5) == code


@pytest.mark.parametrize(("min_ok", "code"), [(0.0, 3), (0.5, 3), (0.51, 4), (1.0, 4)])
def test_exit_code_4_below_min_ok(min_ok: float, code: int) -> None:
    assert exit_code(run_of(HostState.OK, HostState.UNREACHABLE), min_ok) == code


@pytest.mark.parametrize(
    ("reason", "code"), [(Reason.INTERRUPTED, 130), (Reason.TERMINATED, 143), (Reason.DEADLINE, 5)]
)
def test_exit_code_of_an_early_end_takes_precedence(reason: Reason, code: int) -> None:
    result = replace(run_of(HostState.OK, HostState.INTERRUPTED), stopped=reason.value)
    assert exit_code(result, 0.5) == code


def test_exit_code_of_a_check_ignores_traces() -> None:
    assert exit_code(run_of(HostState.NO_INSTANCES), 0.5, traced=False) == 0
