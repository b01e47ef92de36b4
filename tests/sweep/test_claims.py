"""A process is counted by the first host that finds it, and by no other."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.node.model import Discovery, Instance, NodeBinary
from fleettrace.sweep.claims import Claims
from tests.node.test_trace_obstacles import ABLE

BINARY = NodeBinary("1:2", 3, None)


def found(*processes: tuple[int, int], boot: str = "b1", namespace: str = "pid:[4026531836]") -> Discovery:
    facts = replace(ABLE, boot_id=boot, pid_namespace=namespace)
    return Discovery(facts, tuple(Instance(pid, start, BINARY, b"", None, (), None) for pid, start in processes))


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
