"""However a run ends, its traces end and the collected counts are reported."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import TracedInstance, Truth
from fleettrace.sweep.events import Phase
from tests.e2e.command import Command, Done, on_lab
from tests.e2e.fleet import keys_of, plan_for, tracers, wait_until_untraced

pytestmark = pytest.mark.lab

HOSTS = ("plain", "two", "sudo")


@contextmanager
def tracing(lab: Lab, *options: str, output: str = "json") -> Iterator[Command]:
    """Yield a run with a window of a minute, after counting has begun on all of `HOSTS`."""
    arguments = ["--hosts", ",".join(HOSTS), "--duration", "60s", "--top", "1000", "--output", output, "-v", *options]
    with Command(["run", *on_lab(lab, *arguments)]) as command:
        command.wait_for_trace(*HOSTS)
        yield command


def send(lab: Lab) -> Truth:
    return lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*HOSTS)})


def check_collected(done: Done, truth: Truth, state: str) -> None:
    report = done.report
    assert keys_of(report["keys"]) == truth.by_key()
    for host in report["hosts"]:
        assert host["state"] == state
        assert host["requests"] == truth.total(host["host"])
        assert all(0 < instance["window_s"] < 60 for instance in host["instances"])
    assert report["totals"]["certified"] == 0


def check_gone(lab: Lab) -> None:
    wait_until_untraced(lab, *HOSTS)


def test_killed_controller_leaves_no_bpftrace(lab: Lab) -> None:
    with tracing(lab) as command:
        assert len(tracers(lab)) == len(HOSTS)
        command.signal(signal.SIGKILL)
        check_gone(lab)


def test_controller_killed_before_the_trace_leaves_no_bpftrace(lab: Lab) -> None:
    with Command(["run", *on_lab(lab, "--hosts", "plain", "--duration", "60s", "-v")]) as command:
        wait_until(lambda: tracers(lab), "bpftrace does not start")
        command.signal(signal.SIGKILL)
        check_gone(lab)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_counts_before_a_signal_are_reported(lab: Lab, number: signal.Signals, status: int) -> None:
    with tracing(lab) as command:
        truth = send(lab)
        command.signal(number)
        done = command.finish()
    assert done.status == status
    assert "Traceback" not in done.err
    check_collected(done, truth, "interrupted")
    check_gone(lab)


def test_second_ctrl_c_ends_despite_a_stuck_host(lab: Lab) -> None:
    with tracing(lab) as command:
        truth = send(lab)
        lab.hosts["two"].freeze()
        try:
            command.signal(signal.SIGINT)
            time.sleep(3)
            command.signal(signal.SIGINT)
            begun = time.monotonic()
            done = command.finish()
        finally:
            lab.hosts["two"].thaw()
    assert time.monotonic() - begun < 8
    assert done.status == 130
    assert done.host("plain")["requests"] == truth.total("plain")
    assert done.host("two")["state"] == "interrupted"
    check_gone(lab)


def test_deadline_ends_the_run(lab: Lab) -> None:
    with tracing(lab, "--deadline", "12s") as command:
        truth = send(lab)
        done = command.finish()
    assert done.status == 5
    check_collected(done, truth, "timeout")
    check_gone(lab)


def test_deadline_before_the_login_reports_every_host(lab: Lab) -> None:
    with Command(["run", *on_lab(lab, "--hosts", "plain,mute", "--output", "json", "--deadline", "1ms")]) as command:
        done = command.finish()
    assert done.status == 5
    assert [host["state"] for host in done.report["hosts"]] == ["timeout", "timeout"]


def test_signal_during_the_login_ends_the_run(lab: Lab) -> None:
    with Command(["run", *on_lab(lab, "--hosts", "mute", "--connect-timeout", "60s", "--output", "json", "-v")]) as one:
        one.wait_for_phase(Phase.CONNECT, "mute")
        one.signal(signal.SIGINT)
        begun = time.monotonic()
        done = one.finish()
    assert done.status == 130
    assert done.host("mute")["state"] == "interrupted"
    assert time.monotonic() - begun < 10


def test_table_is_printed_after_ctrl_c(lab: Lab) -> None:
    with tracing(lab, output="table") as command:
        truth = lab.send({TracedInstance("plain", 11211): plan_for(TracedInstance("plain", 11211), hostile=False)})
        os.killpg(command.pid, signal.SIGINT)
        done = command.finish()
    assert done.status == 130
    hottest = truth.by_key().most_common(1)[0][0].decode()
    assert hottest in done.out.decode()
