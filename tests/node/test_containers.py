"""The container of a process from its cgroup, and its name from the runtimes' listings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.containers import container_of, named, names_by_id
from fleettrace.summary.run import Container

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("cgroup", "runtime"),
    [
        (f"0::/system.slice/docker-{ID}.scope", "docker"),
        (f"12:pids:/docker/{ID}\n11:cpu:/docker/{ID}\n0::/docker/{ID}", "docker"),
        (f"0::/machine.slice/libpod-{ID}.scope/container", "podman"),
        (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope", "podman"),
        (f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "containerd"),
        (f"0::/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope", "cri-o"),
        (f"0::/kubepods/burstable/pod0e9c3f0a-1111-2222-3333-444444444444/{ID}", "kubernetes"),
        (f"0::/system.slice/nerdctl-{ID}.scope", "nerdctl"),
        (f"0::/caches/{ID}", "unknown"),
        (f"0::/docker/{OTHER}/docker/{ID}", "docker"),
    ],
)
def test_a_container_is_known_by_its_cgroup(cgroup: str, runtime: str) -> None:
    assert container_of(cgroup) == Container(runtime, ID)


@pytest.mark.parametrize(
    "cgroup",
    ["", "0::/", "0::/system.slice/memcached.service", f"0::/docker-{ID[:63]}.scope", f"0::/x/{ID}0", f"0::/x{ID}"],
)
def test_a_process_of_the_host_is_in_none(cgroup: str) -> None:
    assert container_of(cgroup) is None


def test_an_lxc_container_is_its_own_name() -> None:
    assert container_of("0::/lxc.payload.cache-7/memcached.service") == Container("lxc", "cache-7", name="cache-7")


def test_lists_name_containers() -> None:
    known = names_by_id([("docker", f"{ID} mc-a memcached:1.6\n{OTHER} mc-b registry:5000/other@sha256:1\n")])
    assert named(Container("docker", ID), known) == Container("docker", ID, "mc-a", "memcached:1.6")
    assert named(Container("docker", OTHER), known) == Container(
        "docker", OTHER, "mc-b", "registry:5000/other@sha256:1"
    )
    assert named(Container("docker", "0" * 64), known) == Container("docker", "0" * 64)
    assert named(None, known) is None


def test_named_takes_runtime_only_if_unknown() -> None:
    known = names_by_id([("podman", f"{ID} a b")])
    assert named(Container("unknown", ID), known) == Container("podman", ID, "a", "b")
    assert named(Container("kubernetes", ID), known) == Container("kubernetes", ID, "a", "b")


def test_crictl_names_containers() -> None:
    listing = {
        "containers": [
            {"id": ID, "metadata": {"name": "cache"}, "image": {"image": "sha256:1", "userSpecifiedImage": "mc:1"}},
            {"id": OTHER, "metadata": {"name": "other"}, "image": {"image": "sha256:2"}},
        ]
    }
    known = names_by_id([("crictl", json.dumps(listing))])
    assert known == {
        ID: Container("crictl", ID, "cache", "mc:1"),
        OTHER: Container("crictl", OTHER, "other", "sha256:2"),
    }


@given(
    st.sampled_from(["docker", "podman", "crictl"]),
    st.text() | st.builds(json.dumps, st.recursive(st.none() | st.text(), st.lists)),
)
def test_any_other_list_is_passed_over(runtime: str, text: str) -> None:
    assert names_by_id([(runtime, text)]) == {}


@given(st.text())
def test_no_cgroup_is_too_odd(cgroup: str) -> None:
    container_of(cgroup)
