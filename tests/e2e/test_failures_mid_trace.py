"""A failure during a trace costs that host's numbers from then on, and no other host's."""

from __future__ import annotations

import signal
import time

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.truth import TracedInstance, Truth
from tests.e2e.command import Command, Done, on_lab
from tests.e2e.fleet import keys_of, plan_for, tracers

pytestmark = pytest.mark.lab

TWO_SLICES_S = 2.5


def send(lab: Lab, *hosts: str) -> Truth:
    return lab.send(
        {TracedInstance(host, 11211): plan_for(TracedInstance(host, 11211), hostile=False) for host in hosts}
    )


@pytest.fixture(scope="module")
def accidents(lab: Lab) -> tuple[Done, Truth]:
    """Run a sweep in which one host's memcached and another host's bpftrace are killed."""
    options = ["--hosts", "plain,victim,shot", "--duration", "12s", "--top", "1000", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab, *options)]) as command:
        command.wait_for_trace("plain", "victim", "shot")
        truth = send(lab, "plain", "victim", "shot")
        time.sleep(TWO_SLICES_S)
        lab.hosts["victim"].instance().stop(signal.SIGKILL)
        for one in lab.hosts["shot"].processes("bpftrace"):
            one.signal(signal.SIGKILL)
        try:
            truth = truth + send(lab, "plain")
            assert not command.has_finished("plain"), "the traffic outlasted the window"
            done = command.finish()
        finally:
            lab.hosts["victim"].instance().start()
    return done, truth


def test_killed_memcached_keeps_its_counts(accidents: tuple[Done, Truth]) -> None:
    done, truth = accidents
    host = done.host("victim")
    assert (host["state"], host["error"]["code"]) == ("partial", "memcached-ended")

    assert host["requests"] == truth.total("victim")


def test_killed_bpftrace_keeps_its_printed_counts(accidents: tuple[Done, Truth]) -> None:
    done, truth = accidents
    host = done.host("shot")
    assert (host["state"], host["error"]["code"]) == ("partial", "trace-cut")

    assert host["requests"] == truth.total("shot")
    assert TWO_SLICES_S - 1 < host["instances"][0]["window_s"] < 12


def test_other_hosts_are_exact(accidents: tuple[Done, Truth]) -> None:
    done, truth = accidents
    assert (done.host("plain")["state"], done.host("plain")["requests"]) == ("ok", truth.total("plain"))
    assert keys_of(done.report["keys"]) == truth.by_key()


def test_run_with_partial_hosts_is_3(accidents: tuple[Done, Truth]) -> None:
    done, _ = accidents
    assert done.status == 3
    assert done.report["totals"]["hosts_missing"] == ["victim", "shot"]
    assert done.report["totals"]["certified"] == 0


def test_silent_host_ends_with_the_deadline(lab: Lab) -> None:
    options = ["--hosts", "plain,shot", "--duration", "5s", "--deadline", "14s", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab, *options)]) as command:
        command.wait_for_trace("plain", "shot")
        truth = send(lab, "plain", "shot")
        time.sleep(TWO_SLICES_S)
        lab.hosts["shot"].cut_network()
        try:
            done = command.finish()
            assert not tracers(lab), "the node does not end its trace by itself"
        finally:
            lab.hosts["shot"].restore_network()
    assert done.status == 5
    assert (done.host("plain")["state"], done.host("plain")["requests"]) == ("ok", truth.total("plain"))
    assert (done.host("shot")["state"], done.host("shot")["requests"]) == ("timeout", truth.total("shot"))
