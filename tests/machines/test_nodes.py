"""A sweep over SSH of a whole machine reports every key, kind, miss and byte exactly, on every kind of node."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from fleettrace.lab.truth import Truth
from tests.e2e.fleet import key_of, keys_of
from tests.machines.cells import NODES
from tests.machines.node import node
from tests.machines.results import keep_node
from tests.machines.traffic import Details, details, requests

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("name", NODES)
def test_sweep_of_a_node_is_exact(name: str) -> None:
    spec, began = NODES[name], time.monotonic()
    with node(spec) as running:
        facts: dict[str, Any] = {"kernel": running.release, "bpftrace": running.bpftrace, "result": "failed"}
        try:
            plans = {port: requests(seed, spec.suite) for seed, port in enumerate(spec.ports)}
            done, truth = running.sweep(plans, "--misses", "--sizes", seconds=40)
            report = done.report
            facts["requests"] = report["totals"]["requests"]
            facts["memcached"] = ", ".join({one["version"] for host in report["hosts"] for one in host["instances"]})
            _assert_hosts(report, truth)
            _assert_keys(report["keys"], truth, [details(plan) for plan in plans.values()])
            assert done.status == 0
            facts["result"] = "; ".join(["exact", *sorted({one["code"] for one in report["warnings"]})])
        finally:
            keep_node(name, **facts, seconds=round(time.monotonic() - began))


def _assert_hosts(report: Any, truth: Truth) -> None:
    for host in report["hosts"]:
        assert (host["state"], host["error"]) == ("ok", None)
        by_port = {one["ports"][0]: one for one in host["instances"]}
        assert set(by_port) == {one.port for one in truth.instances}
        for port, instance in by_port.items():
            assert instance["probe"]["kind"] == "item", instance["probe"]
            assert (instance["requests"], instance["absent"]) == (truth.total(port=port), 0), instance["probe"]


def _assert_keys(rows: Any, truth: Truth, known: list[Details]) -> None:
    assert keys_of(rows) == truth.by_key()
    counted = Counter({(key_of(row), op): count for row in rows for op, count in row["ops"].items() if count})
    assert counted == truth.by_op()
    misses: Counter[bytes] = sum((one.misses for one in known), Counter())
    assert Counter({key_of(row): row["misses"] for row in rows if row["misses"]}) == misses
    assert all(row["misses"] is not None for row in rows)
    plain = frozenset.intersection(*(one.plain for one in known))
    written: Counter[bytes] = sum((one.written for one in known), Counter())
    shown = {key_of(row): row["value_bytes"] for row in rows}
    assert {key: shown[key] for key in plain} == {key: written[key] for key in plain}
