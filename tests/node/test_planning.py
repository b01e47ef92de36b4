"""A node that cannot be traced is reported with the reason and the cure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from fleettrace.binary.analysis import BinaryAnalysis
from fleettrace.binary.elf import BinaryError
from fleettrace.errors import HostError, HostState
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.discovery import discovery_script, parse_discovery
from fleettrace.node.model import Bpftrace, Discovery, Instance, NodeBinary, NodeFacts
from fleettrace.node.planning import check_able, plan_instances
from fleettrace.probes.model import ProbeKind, ProbeOptions
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.node.ran import ran


@pytest.fixture(scope="module")
def facts() -> NodeFacts:
    """This machine's, as if it could trace."""
    script = discovery_script(["echo", "bpftrace v0.17.0"], "netns")
    report = ran(["sh"], script).stdout
    return replace(parse_discovery(report).facts, uid=0, lockdown="none")


@pytest.mark.parametrize("version", [Bpftrace(0, 11, 3), Bpftrace(0, 17, 0), Bpftrace(0, 27, 1), Bpftrace(1, 0, 0)])
def test_a_node_with_a_bpftrace_is_able(facts: NodeFacts, version: Bpftrace) -> None:
    check_able(Discovery(replace(facts, bpftrace=version), ()))
    check_able(Discovery(replace(facts, bpftrace=version, lockdown="integrity"), ()))


def test_check_able_refuses_other_users_than_root(facts: NodeFacts) -> None:
    assert failure(replace(facts, uid=1000)) == (HostState.BECOME_FAILED, "not-root", "ansible_become")


def test_check_able_reports_missing_bpftrace(facts: NodeFacts) -> None:
    absent = replace(facts, bpftrace=None, bpftrace_output="sh: bpftrace: not found")
    assert failure(absent) == (HostState.NO_BPFTRACE, "no-bpftrace", "sh: bpftrace: not found")


def test_check_able_refuses_old_bpftrace(facts: NodeFacts) -> None:
    assert failure(replace(facts, bpftrace=Bpftrace(0, 9, 4))) == (HostState.NO_BPFTRACE, "bpftrace-too-old", "0.9.4")


def test_check_able_refuses_lockdown(facts: NodeFacts) -> None:
    assert failure(replace(facts, lockdown="confidentiality")) == (HostState.UNSUPPORTED, "lockdown", "lockdown")


def failure(facts: NodeFacts) -> tuple[HostState, str, str]:
    """Return the state, the code, and the expected word that the message has."""
    with pytest.raises(HostError) as caught:
        check_able(Discovery(facts, ()))
    words = ("ansible_become", "sh: bpftrace: not found", "0.9.4", "lockdown")
    return caught.value.state, caught.value.code, next(word for word in words if word in caught.value.message)


def test_root_binaries_come_first_users_time_is_bounded(facts: NodeFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("fleettrace.node.planning.time.monotonic", lambda: clock[0])
    analysed = []

    class Slow(BinaryCatalog):
        def get(self, announced: str | None, fetch: Callable[[], bytes]) -> BinaryAnalysis:  # noqa: ARG002
            analysed.append(announced)
            clock[0] += 4.0
            raise BinaryError("its analysis takes too long")

    binaries = [NodeBinary(f"1:{n}", 1, f"{n}", owner=1000) for n in range(25)]
    binaries.append(NodeBinary("2:1", 1, "root", owner=0))
    instances = [Instance(pid, 5, each, b"", None, (), None) for pid, each in enumerate(binaries, 1)]
    connection = closing(LocalTransport().connect(Target("here")))
    with connection as node:
        planned = plan_instances(node, Slow(None), facts, instances, ProbeOptions(ProbeKind.ITEM))
    assert analysed == ["root", "0", "1", "2"]
    assert [each.instance.pid for each in planned] == list(range(1, 27))
    assert "was not read" in str(planned[24].failure)
