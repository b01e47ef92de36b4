"""A process is counted by the first host that finds it, and by no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleettrace.node.discovery import parse_discovery
from fleettrace.node.model import Discovery, Instance, NodeBinary
from fleettrace.sweep.claims import UNPROVEN, Claims
from tests.node.reports import node
from tests.node.test_trace_obstacles import ABLE

BINARY = NodeBinary("1:2", 3, None)


def found(
    *processes: tuple[int, int],
    boot: str = "b1",
    namespace: str = "pid:[4026531836]",
    layout: str = "2 3 4 5 6 7",
    randomized: bool = True,
) -> Discovery:
    facts = replace(ABLE, boot_id=boot, pid_namespace=namespace, randomized=randomized)
    instances = (Instance(pid, start, BINARY, b"", None, (), None, layout=layout) for pid, start in processes)
    return Discovery(facts, tuple(instances))


def claimed(claims: Claims, host: str, discovery: Discovery) -> tuple[list[int], int]:
    """Return the processes that the host may trace, and the number of its warnings."""
    own, warnings = claims.first(host, discovery, lambda _: True)
    return [instance.pid for instance in own.instances], len(warnings)


def test_second_name_of_a_process_gets_a_warning() -> None:
    claims = Claims()
    assert claimed(claims, "a", found((1, 5), (2, 5))) == ([1, 2], 0)
    assert claimed(claims, "b", found((2, 5), (3, 5))) == ([3], 1)
    assert claimed(claims, "a", found((1, 5), (2, 5))) == ([1, 2], 0)


def test_other_boots_namespaces_and_starts_are_other_processes() -> None:
    claims = Claims()
    assert claimed(claims, "a", found((1, 5))) == ([1], 0)
    assert claimed(claims, "b", found((1, 5), boot="b2")) == ([1], 0)
    assert claimed(claims, "c", found((1, 5), namespace="pid:[4026532178]")) == ([1], 0)
    assert claimed(claims, "d", found((1, 6))) == ([1], 0)


def test_nodes_without_a_boot_id_are_never_equal() -> None:
    claims = Claims()
    assert claimed(claims, "a", found((1, 5), boot="")) == ([1], 0)
    assert claimed(claims, "b", found((1, 5), boot="")) == ([1], 0)


def test_unselected_processes_are_not_claimed() -> None:
    claims = Claims()
    claims.first("a", found((1, 5), (2, 5)), lambda instance: instance.pid == 1)
    assert claimed(claims, "b", found((1, 5), (2, 5))) == ([2], 1)


@pytest.mark.parametrize("layout", ["", "2 3 4 5 6 8"])
def test_hostile_host_does_not_take_the_process_of_another_host(layout: str) -> None:
    claims = Claims()
    assert claimed(claims, "hostile", found((1, 5), layout=layout)) == ([1], 0)
    assert claimed(claims, "honest", found((1, 5))) == ([1], 1)
    assert claimed(claims, "second name of honest", found((1, 5))) == ([], 1)


def test_hostile_host_that_comes_second_is_the_one_that_is_doubted() -> None:
    claims = Claims()
    assert claimed(claims, "honest", found((1, 5))) == ([1], 0)
    _, warnings = claims.first("hostile", found((1, 5), layout=""), lambda _: True)
    assert [warning.code for warning in warnings] == [UNPROVEN]
    assert claimed(claims, "honest", found((1, 5))) == ([1], 0)


def test_equal_addresses_prove_nothing_where_they_are_not_random() -> None:
    claims = Claims()
    assert claimed(claims, "a", found((1, 5), randomized=False)) == ([1], 0)
    assert claimed(claims, "b", found((1, 5), randomized=False)) == ([1], 1)
    assert claimed(claims, "c", found((1, 5))) == ([1], 1)


def test_discovery_reads_the_same_addresses_twice_and_hides_what_the_kernel_hides() -> None:
    report = node({b"layout": b"94000000 140000000 2 3 4 5"})
    assert parse_discovery(report).instances[0].layout == "94000000 140000000 2 3 4 5"
    for hidden in (b"1 0 0 0 0 0", b"", b"94000000 0 2 3 4 5", b"94000000 140000000 2 3 4"):
        assert parse_discovery(node({b"layout": hidden})).instances[0].layout == ""
