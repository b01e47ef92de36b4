"""A node that cannot be traced is reported with the reason and the cure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.node.discovery import discovery_script, parse_discovery
from fleettrace.node.model import Bpftrace, Discovery, NodeFacts
from fleettrace.node.planning import check_able
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
