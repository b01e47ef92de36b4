"""From the command line to the hosts of a run: which inventory, which hosts, and how each is reached."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from fleettrace.cli.failed import with_failed
from fleettrace.cli.secrets import secret
from fleettrace.errors import ConfigError, HostError, HostState
from fleettrace.inventory.load import default_sources, load_inventory
from fleettrace.inventory.model import Host, Inventory
from fleettrace.inventory.pattern import Selection, select
from fleettrace.inventory.selectors import InstanceSelector, SelectorKind
from fleettrace.inventory.settings import ConnectionKind, HostSettings, host_settings
from fleettrace.inventory.shard import stable_shard
from fleettrace.node.model import Instance
from fleettrace.summary.run import Container, Warn
from fleettrace.sweep.settings import HostTask
from fleettrace.transport.interface import Become, HostKeyPolicy, Target, Transport

__all__ = ["Transports", "find_inventory", "inventory_source", "selected", "tasks_of", "warnings_of"]


def find_inventory(arguments: argparse.Namespace) -> Inventory:
    """The inventory that the options, the environment or the usual places name. Raises `ConfigError`."""
    return _loaded(inventory_source(arguments))


@cache
def _loaded(source: str) -> Inventory:
    """The plays of a playbook share it: standard input is there once, and a script is not asked again."""
    return load_inventory(source)


def inventory_source(arguments: argparse.Namespace) -> str:
    """Where the inventory is. Raises `ConfigError`."""
    if arguments.inventory is not None:
        return str(arguments.inventory)
    places = default_sources()
    for place in places:
        if place.exists():
            return str(place)
    raise ConfigError(
        "no inventory: name one with -i FILE or FLEETTRACE_INVENTORY, or write one of "
        f"{', '.join(str(place) for place in places)} (see inventory.example.yaml)"
    )


def selected(arguments: argparse.Namespace) -> Selection:
    """The hosts that the pattern, the limit and the shard select, in the inventory's order. Raises `ConfigError`."""
    inventory = find_inventory(arguments)
    selection = select(inventory, arguments.hosts, with_failed(arguments.limit))
    hosts = selection.hosts if arguments.shard is None else stable_shard(selection.hosts, arguments.shard)
    return replace(selection, hosts=hosts, warnings=(*inventory.warnings, *selection.warnings))


class Transports:
    """The ways of reaching hosts, each made when a host first needs it and shared by all that do."""

    def __init__(self) -> None:
        self._made: dict[str, Transport] = {}

    def get(self, name: str) -> Transport:
        """The transport `ssh`, `openssh` or `local`."""
        if name not in self._made:
            if name == "local":
                from fleettrace.transport.local.transport import LocalTransport

                self._made[name] = LocalTransport()
            elif name == "openssh":
                from fleettrace.transport.openssh.transport import OpenSshTransport

                self._made[name] = OpenSshTransport()
            else:
                from fleettrace.transport.fabric.transport import SshTransport

                self._made[name] = SshTransport()
        return self._made[name]

    def check(self, ssh_config: str | None) -> None:
        """Read the ssh_config that the hosts share, before anything connects. Raises `ConfigError`."""
        from fleettrace.transport.fabric.transport import SshTransport
        from fleettrace.transport.openssh.transport import OpenSshTransport

        for transport in self._made.values():
            if isinstance(transport, SshTransport | OpenSshTransport):
                transport.check(None if ssh_config is None else Path(ssh_config))

    def close(self) -> None:
        """Close what hosts shared."""
        for transport in self._made.values():
            transport.close()


def tasks_of(
    hosts: Sequence[Host], arguments: argparse.Namespace, transports: Transports, become_password: str | None = None
) -> list[HostTask]:
    """One task for each host; `become_password` is for those whose inventory has none. Raises `ConfigError`."""
    return [_task(host, arguments, transports, become_password) for host in hosts]


def warnings_of(selection: Selection) -> list[Warn]:
    """What the pattern names and the inventory lacks, and what the inventory asks for and fleettrace does not do."""
    unmatched = [Warn("inventory", warning) for warning in selection.warnings]
    return unmatched + [
        Warn("inventory", warning, host.name) for host in selection.hosts for warning in host_settings(host).warnings
    ]


def _task(host: Host, arguments: argparse.Namespace, transports: Transports, become_password: str | None) -> HostTask:
    settings = host_settings(host)
    return HostTask(
        name=host.name,
        target=_target(settings, arguments, become_password),
        transport=transports.get(_transport(settings, arguments)),
        bpftrace=settings.bpftrace,
        scope=settings.scope.value,
        selects=_wanted(settings),
    )


def _transport(settings: HostSettings, arguments: argparse.Namespace) -> str:
    """Which transport: the command line's word on the SSH client, then the inventory's."""
    if settings.connection is ConnectionKind.LOCAL:
        return "local"
    client: str | None = arguments.transport
    return client or settings.client.value


def _target(settings: HostSettings, arguments: argparse.Namespace, become_password: str | None) -> Target:
    # Unless the inventory says no, scripts run as root: the transport leaves sudo out where the user is root already.
    own = secret(settings.become_password)
    become = None if settings.become is False else Become(become_password if own is None else own)
    return Target(
        name=settings.name,
        address=settings.address,
        port=settings.port,
        user=settings.user,
        key_file=settings.key_file,
        password=secret(settings.password),
        become=become,
        connect_timeout=arguments.connect_timeout,
        host_key=HostKeyPolicy(arguments.host_key),
        proxy_jump=settings.proxy_jump,
        ssh_config=None if arguments.ssh_config is None else Path(arguments.ssh_config),
    )


def _wanted(settings: HostSettings) -> Callable[[Instance], bool]:
    """Return whether an instance is one that `fleettrace_instances` asks for: one selector that fits is enough.

    It raises `HostError` for an instance in a container without a name where a container's name decides.
    """
    if not settings.instances:
        return lambda _instance: True

    by_name = [selector for selector in settings.instances if selector.kind is SelectorKind.CONTAINER]

    def wanted(instance: Instance) -> bool:
        name = None if instance.container is None else instance.container.name
        if any(
            selector.matches(ports=instance.ports, container=name, user=instance.user)
            for selector in settings.instances
        ):
            return True
        if instance.container is not None and name is None and by_name:
            raise _unnamed(instance, instance.container, by_name[0])
        return False

    return wanted


def _unnamed(instance: Instance, container: Container, selector: InstanceSelector) -> HostError:
    return HostError(
        HostState.UNSUPPORTED,
        "container-unnamed",
        f"whether `fleettrace_instances` ({selector}) selects pid {instance.pid} is not known: no container runtime "
        f"there names its container {container.id[:12]}; select by port or user, or make docker, podman, nerdctl or "
        "crictl work for the session's root",
    )
