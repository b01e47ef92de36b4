"""A kernel that refuses a program is traced exactly with a simpler one, and the report has the reason."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command as Request
from fleettrace.probes.model import ProbeOptions
from fleettrace.probes.variants import Variant
from tests.e2e.command import Command, Done
from tests.e2e.fleet import keys_of
from tests.e2e.local import Served, served
from tests.sweep.refusing import refusing

pytestmark = pytest.mark.lab

ABSENT, STORED = b"absent", b"stored"
REQUESTS = (
    [Request("get", (ABSENT,))] * 23 + [Request("set", (STORED,), b"12345")] * 7 + [Request("get", (STORED,))] * 13
)
"""Requests for two keys: one is always missed, the other is stored first."""
REASON = "BPF stack limit"
"""Part of the reason that the kernel or bpftrace gives for refusing these programs."""
COUNTS_MISSES = "@m_"
"""The map of misses, in each program that counts them."""
MISSES = ProbeOptions(misses=True)
WITHOUT_MISSES = Variant(misses=False).described(MISSES)


@pytest.fixture(scope="module")
def memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("served")
    # A return probe on one inode hides the callers from exit probes there, such as those of other tests.
    own = Path(shutil.copy2(DEBIAN, directory / "memcached"))
    with served(directory, own) as running:
        yield running


def under(memcached: Served, directory: Path, pattern: str) -> Served:
    """Return the same memcached on a node with a bpftrace that refuses programs matching `pattern`."""
    inventory = directory / "inventory.yaml"
    host = {
        "ansible_connection": "local",
        "fleettrace_instances": [memcached.port],
        "fleettrace_bpftrace": refusing(directory, pattern),
    }
    inventory.write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    return replace(memcached, inventory=inventory)


def codes(done: Done) -> list[str]:
    return [warning["code"] for warning in done.report["warnings"]]


def probe(done: Done) -> dict[str, object]:
    [instance] = done.host("here")["instances"]
    return dict(instance["probe"])


def test_misses_are_null_where_their_map_is_refused(memcached: Served, tmp_path: Path) -> None:
    done, truth = under(memcached, tmp_path, COUNTS_MISSES).trace(REQUESTS, "--misses", "--sizes")
    assert done.status == 0
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert {key["misses"] for key in done.report["keys"]} == {None}
    assert {key["key"]: key["ops"] for key in done.report["keys"]} == {
        "absent": {"get": 23},
        "stored": {"set": 7, "get": 13},
    }
    assert "program-refused" in codes(done)
    assert REASON in str(probe(done)["why"])
    assert WITHOUT_MISSES in str(probe(done)["why"])


def test_refused_string_bound_is_replaced_without_loss(memcached: Served, tmp_path: Path) -> None:
    pattern = r"str\(\$key \+ 71, \$n1\)"  # the first way of bounding lengths under Debian 12's bpftrace
    done, truth = under(memcached, tmp_path, pattern).trace(REQUESTS, "--misses")
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert {key["key"]: key["misses"] for key in done.report["keys"]} == {"absent": 23, "stored": 0}
    assert "program-refused" not in codes(done)
    assert Variant(other_bound=True).described(ProbeOptions()) in str(probe(done)["why"])


def test_return_probe_counts_misses_after_refused_exit(memcached: Served, tmp_path: Path) -> None:
    done, truth = under(memcached, tmp_path, r'reg\("bx"\) == 0').trace(REQUESTS, "--misses")
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert {key["key"]: key["misses"] for key in done.report["keys"]} == {"absent": 23, "stored": 0}
    assert "program-refused" not in codes(done)
    assert "and a return probe for misses" in str(probe(done)["why"])


def test_ops_are_null_without_the_refused_kinds(memcached: Served, tmp_path: Path) -> None:
    done, truth = under(memcached, tmp_path, r"\$caller").trace(REQUESTS)
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert {json.dumps(key["ops"]) for key in done.report["keys"]} == {"null"}
    assert codes(done).count("program-refused") == 1


def test_next_probe_kind_follows_a_refused_kind(memcached: Served, tmp_path: Path) -> None:
    done, _ = under(memcached, tmp_path, "fleettrace_point").trace(REQUESTS, seconds=5, at_once=1)
    assert probe(done)["kind"] == "syscall"
    assert keys_of(done.report["keys"])[ABSENT] == 23
    assert "program-refused" in codes(done)


def test_host_that_refuses_every_program_is_trace_failed(memcached: Served, tmp_path: Path) -> None:
    node = under(memcached, tmp_path, "interval")
    with Command(["run", "-i", str(node.inventory), "--duration", "1s", "--output", "json"]) as command:
        done = command.finish()
    host = done.host("here")
    assert (host["state"], host["error"]["code"]) == ("trace-failed", "program-refused")
    assert REASON in host["error"]["message"]
    assert done.status == 4


def test_requested_ops_are_not_given_up(memcached: Served, tmp_path: Path) -> None:
    node = under(memcached, tmp_path, r"\$caller")
    arguments = ["run", "-i", str(node.inventory), "--duration", "1s", "--ops", "get", "--probe", "item"]
    with Command([*arguments, "--output", "json"]) as command:
        done = command.finish()
    assert done.host("here")["error"]["code"] == "program-refused"


@pytest.mark.parametrize(
    ("pattern", "probe_kind", "expected"),
    [("no such word", "item", ""), (COUNTS_MISSES, "item", WITHOUT_MISSES)],
)
def test_check_reports_the_program_that_loads(
    memcached: Served, tmp_path: Path, pattern: str, probe_kind: str, expected: str
) -> None:
    node = under(memcached, tmp_path, pattern)
    with Command(["check", "-i", str(node.inventory), "--misses", "--output", "json"]) as command:
        done = command.finish()
    assert done.status == 0
    assert probe(done)["kind"] == probe_kind
    assert expected in str(probe(done)["why"])
    assert f"kernel {platform.release()}" in str(probe(done)["why"]), "the kernel that loads the program"


def test_plan_explains_the_last_check(memcached: Served, tmp_path: Path) -> None:
    node = under(memcached, tmp_path, COUNTS_MISSES)
    variables = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for command_line in (["check"], ["plan", "--explain"]):
        with Command([*command_line, "-i", str(node.inventory), "--misses"], variables=variables) as command:
            done = command.finish()
        assert done.status == 0
    text = done.out.decode()
    assert f"5. {WITHOUT_MISSES}" in text
    assert f"here :{memcached.port} (" in text
    assert REASON in text
