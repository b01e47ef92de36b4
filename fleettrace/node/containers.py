"""Find the container of a process from its cgroup, and its name in the listings of the node's container runtimes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fleettrace.summary.run import Container

__all__ = ["container_of", "named", "names_by_id"]

# How the runtimes name a container's cgroup, the id being 64 hexadecimal digits:
#   docker-ID.scope, /docker/ID          Docker with the systemd and the cgroupfs driver
#   libpod-ID.scope, /libpod-ID          Podman
#   cri-containerd-ID.scope              containerd under Kubernetes
#   crio-ID.scope                        CRI-O
#   nerdctl-ID.scope                     nerdctl
#   /kubepods/.../podUID/ID              Kubernetes with the cgroupfs driver: no runtime in it
#   /ANYTHING/ID                         a runtime with a parent option (`--cgroup-parent`): none either
_ID = re.compile(r"(?:\b(docker|libpod|cri-containerd|crio|nerdctl)[-/]|/)([0-9a-f]{64})(?![0-9a-f])")
_LXC = re.compile(r"/lxc(?:\.payload)?[./]([A-Za-z0-9][A-Za-z0-9_.-]{0,255})")
_RUNTIMES = {"libpod": "podman", "cri-containerd": "containerd", "crio": "cri-o"}
_UNKNOWN = "unknown"
_LINE = re.compile(r"^([0-9a-f]{64}) (\S{1,256}) (\S{1,512})$", re.MULTILINE)
_MAX_NAME = 256
_MAX_IMAGE = 512
_MAX_CONTAINERS = 1 << 14
"""Containers of one runtime that are known by name: the largest Kubernetes nodes have some hundred."""


def container_of(cgroup: str) -> Container | None:
    """Return the innermost container in the content of `/proc/PID/cgroup`; None for a process of the host itself.

    The runtime is `unknown` if the cgroup does not contain it.
    """
    if ids := _ID.findall(cgroup):
        runtime, identity = ids[-1]
        if not runtime:
            runtime = "kubernetes" if "/kubepods" in cgroup else _UNKNOWN
        return Container(_RUNTIMES.get(runtime, runtime), identity)
    if found := _LXC.search(cgroup):
        return Container("lxc", found[1], name=found[1])
    return None


def names_by_id(listings: Iterable[tuple[str, str]]) -> dict[str, Container]:
    """Return the containers in the (runtime, listing) pairs, by id.

    A listing in another form is ignored: a container without a name is still traced.
    """
    known: dict[str, Container] = {}
    for runtime, text in listings:
        rows = _crictl(text) if runtime == "crictl" else _LINE.findall(text)
        rows = rows[:_MAX_CONTAINERS]
        known.update({identity: Container(runtime, identity, name, image) for identity, name, image in rows})
    return known


def _crictl(text: str) -> list[tuple[str, str, str]]:
    try:
        return [
            (
                str(each["id"]),
                str(each["metadata"]["name"])[:_MAX_NAME],
                str(each["image"].get("userSpecifiedImage") or each["image"]["image"])[:_MAX_IMAGE],
            )
            for each in json.loads(text)["containers"]
        ]
    # Deeply nested JSON raises RecursionError; an integer of thousands of digits, ValueError.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def named(container: Container | None, known: Mapping[str, Container]) -> Container | None:
    """Return the container with the name and image in `known`, and with its runtime if the cgroup has none."""
    if container is None or container.id not in known:
        return container
    listed = known[container.id]
    runtime = listed.runtime if container.runtime == _UNKNOWN else container.runtime
    return replace(container, runtime=runtime, name=listed.name, image=listed.image)
