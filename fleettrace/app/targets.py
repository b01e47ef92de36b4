"""From options to the hosts of a run: which inventory, which hosts, and how each is reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from fleettrace.app.failed_hosts import with_failed
from fleettrace.app.options import RunOptions
from fleettrace.app.secrets import secret
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

__all__ = ["Transports", "host_tasks", "inventory_source", "inventory_warnings", "select_hosts"]


@cache
def _load(source: str) -> Inventory:
    """Load an inventory once: standard input can be read once, and the plays of a playbook share a script's answer."""
    return load_inventory(source)


def inventory_source(options: RunOptions) -> str:
    """Return where the inventory is: `--inventory`, else the first default path that exists. Raises `ConfigError`."""
    if options.inventory is not None:
        return options.inventory
    paths = default_sources()
    for path in paths:
        if path.exists():
            return str(path)
    raise ConfigError(
        "no inventory: name one with -i FILE or FLEETTRACE_INVENTORY, or write one of "
        f"{', '.join(str(path) for path in paths)} (see inventory.example.yaml)"
    )


def select_hosts(options: RunOptions) -> Selection:
    """Return the hosts that pattern, limit and shard select, in the inventory's order. Raises `ConfigError`."""
    inventory = _load(inventory_source(options))
    selection = select(inventory, options.hosts, with_failed(options.limit))
    hosts = selection.hosts if options.shard is None else stable_shard(selection.hosts, options.shard)
    return replace(selection, hosts=hosts, warnings=(*inventory.warnings, *selection.warnings))


class Transports:
    """The transports of a run: each is made when a host first needs it, and shared."""

    def __init__(self) -> None:
        self._made: dict[str, Transport] = {}

    def get(self, name: str) -> Transport:
        """Return the transport `ssh`, `openssh` or `local`."""
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
        """Close the shared connections."""
        for transport in self._made.values():
            transport.close()


def host_tasks(
    hosts: Sequence[Host], options: RunOptions, transports: Transports, become_password: str | None = None
) -> list[HostTask]:
    """Return a task for each host; `become_password` is for hosts that have none. Raises `ConfigError`."""
    return [_task(host, options, transports, become_password) for host in hosts]


def inventory_warnings(selection: Selection) -> list[Warn]:
    """Return warnings: names of the pattern that match no host, and variables that fleettrace does not support."""
    unmatched = [Warn("inventory", warning) for warning in selection.warnings]
    return unmatched + [
        Warn("inventory", warning, host.name) for host in selection.hosts for warning in host_settings(host).warnings
    ]


def _task(host: Host, options: RunOptions, transports: Transports, become_password: str | None) -> HostTask:
    settings = host_settings(host)
    return HostTask(
        name=host.name,
        target=_target(settings, options, become_password),
        transport=transports.get(_transport(settings, options)),
        bpftrace=settings.bpftrace,
        scope=settings.scope.value,
        selects=_selects(settings),
        ports=tuple(int(each.value) for each in settings.instances if each.kind is SelectorKind.PORT),
    )


def _transport(settings: HostSettings, options: RunOptions) -> str:
    """Return the transport's name; for the SSH client, `--transport` takes precedence over the inventory."""
    if settings.connection is ConnectionKind.LOCAL:
        return "local"
    return options.transport or settings.client.value


def _target(settings: HostSettings, options: RunOptions, become_password: str | None) -> Target:
    # Scripts run as root unless the inventory forbids it; the transport leaves sudo out where the user is root already.
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
        connect_timeout=options.connect_timeout,
        host_key=HostKeyPolicy(options.host_key),
        proxy_jump=settings.proxy_jump,
        ssh_config=None if options.ssh_config is None else Path(options.ssh_config),
    )


def _selects(settings: HostSettings) -> Callable[[Instance], bool]:
    """Return a predicate: whether a selector of `fleettrace_instances` matches an instance.

    It raises `HostError` for an instance in a container of unknown name where a container selector would decide.
    """
    if not settings.instances:
        return lambda _instance: True

    by_name = [selector for selector in settings.instances if selector.kind is SelectorKind.CONTAINER]

    def selects(instance: Instance) -> bool:
        name = None if instance.container is None else instance.container.name
        if any(
            selector.matches(ports=instance.ports, container=name, user=instance.user)
            for selector in settings.instances
        ):
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
