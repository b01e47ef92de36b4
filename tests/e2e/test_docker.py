"""Real containers: reported by name, and counted separately although they share a binary."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.specs import ContainerSpec, HostSpec
from fleettrace.lab.truth import Truth
from tests.e2e.command import Command, Done, on_lab
from tests.e2e.fleet import keys_of, plan_for

pytestmark = [pytest.mark.lab, pytest.mark.docker]

CONTAINERS = (
    ContainerSpec("mc-a", "memcached:lab", 11211),
    ContainerSpec("mc-b", "memcached:lab", 11212),
    ContainerSpec("mc-c", "other:lab", 11213),
)


@pytest.fixture(scope="module")
def containers() -> Iterator[Lab]:
    with Lab([HostSpec("dock", (), containers=CONTAINERS)]) as made:
        yield made


@pytest.fixture(scope="module")
def traced(containers: Lab) -> tuple[Done, Truth]:
    options = ["--duration", "6s", "--top", "1000", "--output", "json", "-v"]
    with Command(["run", *on_lab(containers, *options)]) as command:
        command.wait_for_trace("dock")
        truth = containers.send({one: plan_for(one, hostile=False) for one in containers.instances()})
        assert not command.has_finished("dock"), "the traffic outlasted the window"
        done = command.finish()
    return done, truth


@pytest.mark.parametrize("spec", CONTAINERS, ids=lambda spec: spec.name)
def test_container_is_named_and_counted(containers: Lab, traced: tuple[Done, Truth], spec: ContainerSpec) -> None:
    done, truth = traced
    [instance] = [one for one in done.host("dock")["instances"] if one["ports"] == [spec.port]]
    real = containers.hosts["dock"].containers[spec.name]
    assert instance["container"] == {"runtime": "docker", "id": real.id, "name": spec.name, "image": spec.image}
    assert instance["pid"] == real.pid
    assert instance["exe"] == "/usr/local/bin/memcached"
    assert (instance["state"], instance["requests"]) == ("ok", truth.total("dock", spec.port))


def test_requests_of_every_key_are_exact(traced: tuple[Done, Truth]) -> None:
    done, truth = traced
    assert done.status == 0
    assert keys_of(done.report["keys"]) == truth.by_key()


def test_containers_of_one_image_share_an_inode(containers: Lab) -> None:
    from pathlib import Path

    a, b, c = (Path(f"/proc/{one.pid}/exe").stat().st_ino for one in containers.hosts["dock"].containers.values())
    assert a == b != c


def test_instances_are_selected_by_container(containers: Lab) -> None:
    inventory = containers.private / "one.yaml"
    inventory.write_text(
        containers.inventory.read_text().replace(
            "fleettrace_scope: netns", "fleettrace_scope: netns\n    fleettrace_instances: ['container:mc-b']"
        )
    )
    options = ["-i", str(inventory), "--ssh-config", str(containers.ssh_config), "--output", "json"]
    with Command(["check", *options]) as command:
        done = command.finish()
    assert [one["container"]["name"] for one in done.host("dock")["instances"]] == ["mc-b"]
