"""Which memcached instances of a host a run traces, by the selectors of its inventory or of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleettrace.errors import HostError, HostState
from fleettrace.inventory.selectors import InstanceSelector, SelectorKind
from fleettrace.node.model import Instance
from fleettrace.summary.run import Container

__all__ = ["instance_selection"]


def instance_selection(selectors: Sequence[InstanceSelector]) -> Callable[[Instance], bool]:
    """Return a predicate: whether one of `selectors` (`fleettrace_instances`) matches an instance; all, without one.

    It raises `HostError` for an instance in a container of unknown name where a container selector would decide.
    """
    if not selectors:
        return lambda _instance: True

    by_name = [selector for selector in selectors if selector.kind is SelectorKind.CONTAINER]

    def selects(instance: Instance) -> bool:
        name = None if instance.container is None else instance.container.name
        if any(selector.matches(ports=instance.ports, container=name, user=instance.user) for selector in selectors):
            return True
        if instance.container is not None and name is None and by_name:
            raise _unnamed(instance, instance.container, by_name[0])
        return False

    return selects


def _unnamed(instance: Instance, container: Container, selector: InstanceSelector) -> HostError:
    return HostError(
        HostState.UNSUPPORTED,
        "container-unnamed",
        f"whether `fleettrace_instances` ({selector}) selects pid {instance.pid} is not known: no container runtime "
        f"there names its container {container.id[:12]}; select by port or user, or make docker, podman, nerdctl or "
        "crictl work for the session's root",
    )
