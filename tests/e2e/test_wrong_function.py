"""A probe on the wrong function is detected by the keys it reads, and its counts are not reported."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, Found, ProbedFunction, analyse
from fleettrace.binary.cheapest import cheapest_instruction, entry_instruction
from fleettrace.binary.elf import parse
from fleettrace.binary.functions import read_functions
from fleettrace.binary.symbols import function_symbols, named
from fleettrace.lab.build import memcached_binary
from fleettrace.lab.fleet import Lab
from fleettrace.lab.specs import HostSpec, InstanceSpec
from fleettrace.lab.truth import TracedInstance
from fleettrace.node.stored_analyses import AnalysisStore
from tests.e2e.command import Command, Done, on_lab
from tests.e2e.fleet import keys_of, plan_for

pytestmark = pytest.mark.lab

WRONG, RIGHT = TracedInstance("node", 11211), TracedInstance("node", 11212)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    instances = (InstanceSpec(WRONG.port), InstanceSpec(RIGHT.port, variant="cf-protection"))
    with Lab([HostSpec("node", instances)]) as made:
        yield made


def misled(binary: bytes, function: str) -> BinaryAnalysis:
    """Return the analysis of a binary as if `function` were do_item_get."""
    found, elf = analyse(binary), parse(binary)
    symbols = function_symbols(elf)
    where = read_functions(elf, symbols).starting(named(symbols, function)[0].address)
    assert where is not None
    entry, cheapest, offset = (
        entry_instruction(elf, where),
        cheapest_instruction(elf, where, 5),
        elf.offset_of(where.start),
    )
    assert entry is not None
    assert cheapest is not None
    assert offset is not None
    point = ProbedFunction(
        "do_item_get", None, Found.LOCATED, where.start, offset, where.end - where.start, entry, cheapest, ("a test",)
    )
    points = tuple(point if one.name == "do_item_get" else one for one in found.functions)
    return replace(found, functions=points, exit=None)


def sweep(lab: Lab, cache: Path, function: str) -> Done:
    """Run a sweep under traffic in which one memcached's analysis takes `function` for do_item_get."""
    binary = memcached_binary("plain").read_bytes()
    analysis = misled(binary, function)
    AnalysisStore(cache / "fleettrace/binaries").save(sha256(binary).hexdigest(), analysis)
    options = ["--duration", "60s", "--top", "100000", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab), *options], variables={"XDG_CACHE_HOME": str(cache)}) as command:
        command.wait_for_trace("node")
        for _ in range(3):
            lab.send({place: plan_for(place) for place in (WRONG, RIGHT)})
            # A stopped trace knows the time of its end only roughly.
            time.sleep(0.5)
        command.signal(signal.SIGINT)
        return command.finish()


@pytest.mark.parametrize("function", ["process_command_ascii", "conn_set_state", "do_item_link"])
def test_wrong_function_has_implausible_keys(lab: Lab, tmp_path: Path, function: str) -> None:
    done = sweep(lab, tmp_path, function)
    host = done.host("node")
    by_port = {instance["ports"][0]: instance for instance in host["instances"]}
    assert by_port[WRONG.port]["state"] == "trace-failed"
    assert by_port[WRONG.port]["error"]["code"] == "implausible-keys"
    assert by_port[WRONG.port]["requests"] is None
    assert by_port[RIGHT.port]["requests"] > 0
    assert host["requests"] == by_port[RIGHT.port]["requests"] == keys_of(done.report["keys"]).total()
    assert not [key for key in keys_of(done.report["keys"]) if b":%d:" % WRONG.port in key]


def test_probe_that_never_fires_is_blind(lab: Lab, tmp_path: Path) -> None:
    done = sweep(lab, tmp_path, "do_item_linktail_q")
    by_port = {instance["ports"][0]: instance for instance in done.host("node")["instances"]}
    assert by_port[WRONG.port]["state"] == "trace-failed"
    assert by_port[WRONG.port]["error"]["code"] in ("blind", "implausible-keys")
