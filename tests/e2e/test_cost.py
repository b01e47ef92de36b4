"""Coverage and cost of a run, compared with memcached's counters and the kernel's."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import WEB, Profile, plan
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import OP_OF_VERB, TracedInstance
from fleettrace.sweep.cost import MAP_MEMORY
from tests.e2e.command import Command, Done, on_lab, run
from tests.e2e.conftest import BigSweep
from tests.e2e.fleet import TRACED

pytestmark = pytest.mark.lab

GONE_WITHIN_S = 5.0


def instances(done: Done, host: str) -> list[Any]:
    found: list[Any] = done.host(host)["instances"]
    return found


def samplers(lab: Lab, host: str) -> list[int]:
    """Return the processes of a host that sample its memcached instances."""
    found = []
    for one in lab.hosts[host].processes():
        try:
            command = Path(f"/proc/{one.pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"fleettrace-looker" in command:
            found.append(one.pid)
    return found


@pytest.mark.parametrize("name", TRACED)
def test_coverage_equals_memcacheds_own_counters(big_sweep: BigSweep, name: str) -> None:
    for instance in instances(big_sweep.done, name):
        verbs = big_sweep.truth.by_verb(name, instance["ports"][0])
        # memcached looks up, and does not count, arithmetic on a value that is not a number.
        arithmetic = sum(count for verb, count in verbs.items() if OP_OF_VERB[verb] == "arith")
        assert instance["coverage"]["traced"] == instance["requests"] == verbs.total()
        assert verbs.total() - arithmetic <= instance["coverage"]["counted"] <= verbs.total()


def test_instance_not_selected_is_not_counted(lab: Lab, tmp_path: Path) -> None:
    inventory = yaml.safe_load(lab.inventory.read_text())
    inventory["all"]["hosts"]["two"]["fleettrace_instances"] = [11212]
    chosen = tmp_path / "inventory.yaml"
    chosen.write_text(yaml.safe_dump(inventory))
    options = ["-i", str(chosen), "--ssh-config", str(lab.ssh_config), "--hosts", "two", "--duration", "4s"]
    with Command(["run", *options, "--output", "json", "-v"]) as command:
        command.wait_for_trace("two")
        truth = lab.send({TracedInstance("two", port): plan(Profile(), port, 600) for port in (11211, 11212)})
        done = command.finish()
    [instance] = instances(done, "two")
    assert instance["ports"] == [11212]
    assert instance["requests"] == truth.total("two", 11212)
    assert instance["coverage"] == {"counted": instance["requests"], "traced": instance["requests"], "share": 1.0}


def test_steady_traffic_has_coverage_and_cost(lab: Lab) -> None:
    load = lab.start_load([Flow(TracedInstance("plain", 11211), lab.hosts["plain"].address, WEB, 8000)], 60)
    try:
        done = run("run", *on_lab(lab, "--hosts", "plain", "--duration", "4s", "--output", "json"))
    finally:
        load.stop()
    [instance] = instances(done, "plain")
    assert instance["coverage"]["share"] == pytest.approx(1, abs=0.01)
    assert 1 < instance["cost"]["during_us"] < 200
    assert 0 < instance["cost"]["tracer_cpu_s"] < 60
    assert done.report["totals"]["tracer_cpu_s"] == pytest.approx(instance["cost"]["tracer_cpu_s"])


def test_max_cost_shortens_the_window(lab: Lab) -> None:
    load = lab.start_load([Flow(TracedInstance("plain", 11211), lab.hosts["plain"].address, WEB, 2000)], 60)
    options = ["--hosts", "plain,empty", "--duration", "30s", "--max-cost", "0.05%", "--output", "json"]
    try:
        done = run("run", *on_lab(lab, *options))
    finally:
        load.stop()
    host = done.host("plain")
    [instance] = host["instances"]
    assert (host["state"], host["error"]) == ("ok", None)
    assert 1 <= instance["window_s"] < 8
    assert instance["requests"] > 0
    [warning] = [one for one in done.report["warnings"] if one["code"] == "window-shortened"]
    assert warning["host"] == "plain"
    window = re.search(r"([\d.]+) s\b", warning["message"])
    rate = re.search(r"([\d,]+) requests/s", warning["message"])
    assert window, warning
    assert rate, warning
    assert float(window[1]) == pytest.approx(instance["window_s"], rel=0.1)
    assert float(rate[1].replace(",", "")) == pytest.approx(2000, rel=0.5)
    assert "--max-cost" in warning["message"]


def test_maps_stay_within_their_memory(lab: Lab) -> None:
    with Command(["run", *on_lab(lab, "--hosts", "plain", "--duration", "60s", "-v")]) as command:
        command.wait_for_trace("plain")
        [tracer] = [one.pid for one in lab.hosts["plain"].processes("bpftrace")]
        fdinfo = [path.read_text() for path in Path(f"/proc/{tracer}/fdinfo").iterdir()]
        command.signal(signal.SIGINT)
        command.finish()
    maps = [int(found[1]) for text in fdinfo if "map_type" in text and (found := re.search(r"memlock:\t(\d+)", text))]
    assert len(maps) >= 5
    assert 0 < sum(maps) <= MAP_MEMORY


@pytest.mark.parametrize("end", ["complete", "killed"])
def test_sampler_ends_with_the_run(lab: Lab, end: str) -> None:
    options = ["--hosts", "two", "--duration", "2s" if end == "complete" else "60s", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab, *options)]) as command:
        command.wait_for_trace("two")
        assert len(samplers(lab, "two")) == 1
        if end == "complete":
            assert command.finish().status == 0
            assert samplers(lab, "two") == []
        else:
            command.signal(signal.SIGKILL)
            wait_until(lambda: not samplers(lab, "two"), "the sampler does not end", seconds=GONE_WITHIN_S)


def test_restarted_memcached_has_no_coverage(lab: Lab) -> None:
    instance = lab.hosts["victim"].instance()
    with Command(["run", *on_lab(lab, "--hosts", "victim", "--duration", "4s", "--output", "json", "-v")]) as command:
        command.wait_for_trace("victim")
        instance.stop()
        instance.start()
        done = command.finish()
    [shown] = instances(done, "victim")
    assert (shown["state"], shown["coverage"]) == ("partial", None)
