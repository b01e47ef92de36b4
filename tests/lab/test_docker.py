"""Real containers run in a host's network and are removed with the lab."""

from __future__ import annotations

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.profile import WEB, plan
from fleettrace.lab.specs import ContainerSpec, HostSpec
from fleettrace.lab.truth import TracedInstance
from tests.lab.traces import traces_of

pytestmark = [pytest.mark.lab, pytest.mark.docker]

CONTAINERS = (
    ContainerSpec("mc-a", "memcached:lab", 11211),
    ContainerSpec("mc-b", "memcached:lab", 11212),
    ContainerSpec("mc-c", "other:lab", 11213),
)


def test_containers_run_on_a_host_and_leave_nothing() -> None:
    with Lab([HostSpec("cache-001", (), containers=CONTAINERS)]) as lab:
        name = lab.id
        host = lab.hosts["cache-001"]
        assert host.docker is not None
        listed = host.docker.client("ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}}").splitlines()
        assert sorted(listed) == sorted(f"{one.id} {key} {one.spec.image}" for key, one in host.containers.items())
        assert sorted(host.pids) == [11211, 11212, 11213]
        truth = lab.send({TracedInstance("cache-001", 11213): plan(WEB, 1, 500)})
        verbs = truth.by_verb()
        stats = host.containers["mc-c"].stats()
        assert int(stats["cmd_get"]) == verbs["get"] + verbs["gets"] + verbs["mg"]
        assert host.containers["mc-a"].stats()["cmd_get"] == "0"
        host.docker.stop()
        assert host.ports == []
    assert traces_of(name) == []
