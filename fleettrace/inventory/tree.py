"""The inventory while it is read: loaders add groups, hosts and variables, and `freeze` applies Ansible's rules.

Several files add to one tree. A group may be written in many places, and its parts are merged. A group below itself is
an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from fleettrace.errors import ConfigError
from fleettrace.inventory.model import Group, Host, Inventory, Layer, Origin, Variables

__all__ = ["Tree"]


class _FileLayers(Protocol):
    """Variables in files beside the inventory."""

    def of_group(self, name: str) -> tuple[Layer, ...]: ...

    def of_host(self, name: str) -> tuple[Layer, ...]: ...

    def every_layer(self) -> tuple[Layer, ...]: ...

    def warnings(self) -> tuple[str, ...]: ...


@dataclass(slots=True)
class _Group:
    name: str
    origin: Origin | None
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    priority: int = 1


@dataclass(slots=True)
class _Host:
    name: str
    origin: Origin
    groups: dict[str, None] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all hosts in the same groups share."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    variables: dict[str, object]


class Tree:
    """Groups and hosts, added one by one. Every method raises `ConfigError`, with the place of its `origin`."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._groups = {"all": _Group("all", None), "ungrouped": _Group("ungrouped", None)}
        self._hosts: dict[str, _Host] = {}
        self._layers: list[Layer] = []
        self._link("all", "ungrouped")

    def add_group(self, name: object, origin: Origin) -> str:
        """Add a group, unless the tree has it, and return its name."""
        name = _checked(name, "group", origin)
        if name not in self._groups:
            self._groups[name] = _Group(name, origin)
        return name

    def has_group(self, name: str) -> bool:
        """Return whether a group was added."""
        return name in self._groups

    def add_child(self, parent: str, child: str, origin: Origin) -> None:
        """Put the group `child` below `parent`; the tree has both."""
        if child in self._groups[parent].children:
            return
        loop = self._path_up(parent, child)
        if loop:
            raise origin.error(
                f"the group {child!r} is below itself ({' > '.join([*loop, child])}): remove one of these steps"
            )
        self._link(parent, child)

    def add_host(self, name: object, group: str, origin: Origin, port: int | None = None) -> str:
        """Put a host into `group`, and return its name. As in Ansible, only the first mention's `port` counts."""
        name = _checked(name, "host", origin)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name, origin)
            if port:
                self.add_host_layer(name, Layer({"ansible_port": port}, origin))
        host.groups[group] = None
        self._groups[group].hosts[name] = None
        return name

    def add_host_layer(self, name: str, layer: Layer) -> None:
        """Add variables to a host of the tree."""
        if layer.values:
            self._hosts[name].layers.append(layer)
            if not self._layers or self._layers[-1] is not layer:
                self._layers.append(layer)

    def add_group_layer(self, name: str, layer: Layer) -> None:
        """Add variables to a group of the tree. `ansible_group_priority` sets the group's priority instead."""
        values = dict(layer.values)
        if "ansible_group_priority" in values:
            priority = values.pop("ansible_group_priority")
            try:
                self._groups[name].priority = int(str(priority))
            except ValueError:
                key_origin = layer.origin.at("ansible_group_priority")
                raise key_origin.error(f"ansible_group_priority must be a whole number, not {priority!r}") from None
        if values:
            own = Layer(values, layer.origin)
            self._groups[name].layers.append(own)
            self._layers.append(own)

    def freeze(self, sources: tuple[str, ...], files: _FileLayers) -> Inventory:
        """Return the finished inventory, with the variables of `files` merged in."""
        self._put_roots_below_all()
        self._update_ungrouped()
        self._warn_of_shared_names()
        depths = self._depths()
        shared: dict[tuple[str, ...], _Shared] = {}
        hosts = {}
        for host in self._hosts.values():
            direct = tuple(host.groups)
            common = shared.get(direct)
            if common is None:
                common = shared[direct] = self._shared(direct, depths, files)
            own = (*host.layers, *files.of_host(host.name))
            variables = _merge(common.variables, own)
            hosts[host.name] = Host(host.name, MappingProxyType(variables), common.names, common.layers + own)
        return Inventory(
            sources,
            MappingProxyType(hosts),
            MappingProxyType({group.name: _frozen(group, depths[group.name]) for group in self._groups.values()}),
            (*self._layers, *files.every_layer()),
            (*self._groups["all"].layers, *files.of_group("all")),
            (*self.warnings, *files.warnings()),
        )

    def _link(self, parent: str, child: str) -> None:
        self._groups[parent].children[child] = None
        self._groups[child].parents[parent] = None

    def _path_up(self, start: str, goal: str) -> list[str]:
        """Return the groups from `goal` down to `start`, none if `goal` is not above `start`."""
        paths = {start: [start]}
        pending = [start]
        while pending:
            name = pending.pop()
            if name == goal:
                return paths[name]
            for parent in self._groups[name].parents:
                if parent not in paths:
                    paths[parent] = [parent, *paths[name]]
                    pending.append(parent)
        return []

    def _put_roots_below_all(self) -> None:
        for name, group in self._groups.items():
            if name == "all" or group.parents:
                continue
            if self._path_up("all", name):
                message = f"the group {name!r} has 'all' below it, but every group is below 'all': remove 'all' from it"
                raise group.origin.error(message) if group.origin else ConfigError(message)
            self._link("all", name)

    def _update_ungrouped(self) -> None:
        """Put the hosts that are in no group but `all` into `ungrouped`, and no others."""
        ungrouped = self._groups["ungrouped"]
        for host in self._hosts.values():
            others = self._ancestors(tuple(host.groups)) - {"all", "ungrouped"}
            if others:
                host.groups.pop("ungrouped", None)
                ungrouped.hosts.pop(host.name, None)
            elif "ungrouped" not in host.groups:
                host.groups["ungrouped"] = None
                ungrouped.hosts[host.name] = None

    def _warn_of_shared_names(self) -> None:
        for name in self._groups:
            if name in self._hosts:
                origin = self._hosts[name].origin
                self.warnings.append(
                    str(origin.error(f"{name!r} is both a host and a group: a pattern means the group"))
                )

    def _ancestors(self, direct: tuple[str, ...]) -> set[str]:
        """Return the groups `direct` and all groups above them."""
        seen = set(direct)
        pending = list(direct)
        while pending:
            for parent in self._groups[pending.pop()].parents:
                if parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
        return seen

    def _depths(self) -> dict[str, int]:
        depths = dict.fromkeys(self._groups, 0)
        waiting = {name: len(group.parents) for name, group in self._groups.items()}
        ready = [name for name, parents in waiting.items() if not parents]
        while ready:
            name = ready.pop()
            for child in self._groups[name].children:
                depths[child] = max(depths[child], depths[name] + 1)
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
        return depths

    def _shared(self, direct: tuple[str, ...], depths: dict[str, int], files: _FileLayers) -> _Shared:
        """Merge in Ansible's order: `all`, the groups, the files of `all`, the files of the groups."""
        groups = [self._groups[name] for name in self._ancestors(direct) if name != "all"]
        groups.sort(key=lambda group: (depths[group.name], group.priority, group.name))
        layers = (
            *self._groups["all"].layers,
            *(layer for group in groups for layer in group.layers),
            *files.of_group("all"),
            *(layer for group in groups for layer in files.of_group(group.name)),
        )
        return _Shared(tuple(sorted(group.name for group in groups)), layers, _merge({}, layers))


def _checked(name: object, kind: str, origin: Origin) -> str:
    """Return a name, checked to be one line that is safe on a terminal."""
    if not isinstance(name, str) or not name:
        raise origin.error(f"a {kind}'s name must be a string, not {name!r}: put it in quotes")
    if not name.isprintable():
        raise origin.error(f"a {kind}'s name must be of printable characters, not {name!r}")
    return name


def _frozen(group: _Group, depth: int) -> Group:
    variables = MappingProxyType(_merge({}, tuple(group.layers)))
    return Group(group.name, tuple(group.hosts), tuple(group.children), variables, depth, group.priority)


def _merge(base: Variables, layers: tuple[Layer, ...]) -> dict[str, object]:
    merged = dict(base)
    for layer in layers:
        merged.update(layer.values)
    return merged
