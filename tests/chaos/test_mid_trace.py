"""Several hosts fail at once in the middle of a trace, each in another way: it costs their own numbers from then on,
no other host's, and the run ends."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.truth import TracedInstance, Truth
from fleettrace.node.plausible import ENDING_S
from tests.chaos.hosts import OwnDirectories, remains
from tests.chaos.wire import bad_wire
from tests.e2e.command import Command, Done, on_lab
from tests.e2e.fleet import keys_of, plan_for

pytestmark = pytest.mark.lab

SURVIVORS = ("steady", "secret")
BROKEN = ("cut", "shut", "frozen", "behind")
"""Hosts with an accident: the network is cut, sshd is killed, all processes are stopped, the bastion is killed."""
WINDOW_S = 9
TWO_SLICES_S = 2.5


@dataclass(frozen=True, slots=True)
class Accidents:
    """The run's end, the truth, and the seconds from the accidents to the end."""

    done: Done
    truth: Truth
    ended_after_s: float
    left_while_cut: list[str]
    """What the host without a network had left before its network was restored."""


def send(lab: Lab, *hosts: str) -> Truth:
    return lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*hosts)})


@pytest.fixture(scope="module")
def accidents(lab: Lab, directories: dict[str, OwnDirectories]) -> Accidents:
    hosts = ",".join((*SURVIVORS, *BROKEN))
    options = ["--hosts", hosts, "--duration", f"{WINDOW_S}s", "--top", "10000", "--output", "json", "-v"]
    with ExitStack() as stack, Command(["run", *on_lab(lab, *options)]) as command:
        command.wait_for_trace(*SURVIVORS, *BROKEN)
        truth = send(lab, *SURVIVORS, *BROKEN)
        time.sleep(TWO_SLICES_S)
        broken = time.monotonic()
        stack.callback(lab.hosts["cut"].restore_network)
        lab.hosts["cut"].cut_network()
        stack.callback(directories["shut"].start_sshd)
        lab.hosts["shut"].kill_sshd()
        stack.callback(directories["bastion"].start_sshd)
        lab.hosts["bastion"].kill_sshd()
        stack.callback(lab.hosts["frozen"].thaw)
        lab.hosts["frozen"].freeze()
        truth = truth + send(lab, *SURVIVORS)
        assert not command.has_finished(*SURVIVORS), "the traffic outlasted the window"
        done = command.finish()
        took = time.monotonic() - broken
        left = [what for what in remains(lab, directories) if what.startswith("cut:") and "sshd: " not in what]
    return Accidents(done, truth, took, left)


@pytest.mark.parametrize("name", SURVIVORS)
def test_unharmed_host_is_counted_exactly(accidents: Accidents, name: str) -> None:
    host = accidents.done.host(name)
    assert (host["state"], host["error"], host["requests"]) == ("ok", None, accidents.truth.total(name))


@pytest.mark.parametrize("name", BROKEN)
def test_failed_host_keeps_its_counts_until_then(accidents: Accidents, name: str) -> None:
    host = accidents.done.host(name)
    assert (host["state"], host["error"]["code"]) == ("partial", "trace-cut")

    assert host["requests"] == accidents.truth.total(name)
    assert TWO_SLICES_S - 1.5 < host["instances"][0]["window_s"] < WINDOW_S


def test_report_has_every_host_and_key(accidents: Accidents) -> None:
    report = accidents.done.report
    assert [host["host"] for host in report["hosts"]] == [*SURVIVORS, *BROKEN]
    assert keys_of(report["keys"]) == accidents.truth.by_key()
    assert set(report["totals"]["hosts_missing"]) == set(BROKEN)
    assert report["totals"]["certified"] == 0


def test_exit_code_is_3(accidents: Accidents) -> None:
    assert accidents.done.status == 3


def test_failed_hosts_do_not_delay_the_run(accidents: Accidents) -> None:
    assert accidents.ended_after_s < WINDOW_S + ENDING_S + 5


def test_unreachable_host_ends_its_trace_itself(accidents: Accidents) -> None:
    assert accidents.left_while_cut == []


FEW = [Request("get", (b"few:%d" % number,)) for number in range(23)]
"""Requests that fit into one packet."""


def test_lossy_network_loses_no_request(lab: Lab) -> None:
    steady, slow = TracedInstance("steady", 11211), TracedInstance("slow", 11211)
    options = ["--hosts", "steady,slow", "--duration", "4s", "--top", "10000", "--output", "json", "-v"]
    with (
        bad_wire(lab.hosts["slow"], delay_s=0.15, loss=0.03) as wire,
        Command(["run", *on_lab(lab, *options, "--connect-timeout", "30s")]) as command,
    ):
        command.wait_for_trace("steady")
        truth = lab.send({steady: plan_for(steady, hostile=False)})
        command.wait_for_trace("slow")
        truth = truth + lab.send({slow: FEW})
        assert not command.has_finished("slow"), "the traffic outlasted the window"
        done = command.finish()
    assert wire.lost > 0
    assert done.status == 0
    assert [(host["state"], host["requests"]) for host in done.report["hosts"]] == [
        ("ok", truth.total("steady")),
        ("ok", len(FEW)),
    ]
    assert keys_of(done.report["keys"]) == truth.by_key()
