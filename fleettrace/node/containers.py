"""Which container a process is in: from its cgroup, and named by what the runtimes on the node say."""

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
#   /kubepods/.../podUID/ID              Kubernetes with the cgroupfs driver: the runtime is not said
_PREFIXED = re.compile(r"\b(docker|libpod|cri-containerd|crio|nerdctl)[-/]([0-9a-f]{64})")
_KUBEPODS = re.compile(r"/kubepods[^\n]*/([0-9a-f]{64})")
_LXC = re.compile(r"/lxc(?:\.payload)?[./]([A-Za-z0-9][A-Za-z0-9_.-]*)")
_RUNTIMES = {"libpod": "podman", "cri-containerd": "containerd", "crio": "cri-o"}
_LINE = re.compile(r"^([0-9a-f]{64}) (\S+) (\S+)$", re.MULTILINE)


def container_of(cgroup: str) -> Container | None:
    """The container whose cgroup `/proc/PID/cgroup` names; None for a process of the host itself."""
    if found := _PREFIXED.search(cgroup):
        return Container(_RUNTIMES.get(found[1], found[1]), found[2])
    if found := _KUBEPODS.search(cgroup):
        return Container("kubernetes", found[1])
    if found := _LXC.search(cgroup):
        return Container("lxc", found[1], name=found[1])
    return None


def names_by_id(listings: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Name and image by container id, from what each (runtime, listing) says. A listing in another form is passed
    over: a container without a name is still traced."""
    names: dict[str, tuple[str, str]] = {}
    for runtime, text in listings:
        names.update(
            _crictl(text) if runtime == "crictl" else {found[1]: (found[2], found[3]) for found in _LINE.finditer(text)}
        )
    return names


def _crictl(text: str) -> dict[str, tuple[str, str]]:
    try:
        containers = json.loads(text)["containers"]
        return {
            str(each["id"]): (
                str(each["metadata"]["name"]),
                str(each["image"].get("userSpecifiedImage") or each["image"]["image"]),
            )
            for each in containers
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def named(container: Container | None, names: Mapping[str, tuple[str, str]]) -> Container | None:
    """The container with its name and image, where they are known."""
    if container is None or container.id not in names:
        return container
    name, image = names[container.id]
    return replace(container, name=name, image=image)
