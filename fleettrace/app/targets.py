"""From options to the hosts of a run: which inventory, which hosts, and how each is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from fleettrace.app.failed_hosts import with_failed
from fleettrace.app.instance_selection import instance_selection
from fleettrace.app.options import RunOptions
from fleettrace.app.secrets import Passwords, forget_secrets, prompt, secret
from fleettrace.app.site import Site, inventory_sources, read_site
from fleettrace.app.unsupported import NoLogin, UnsupportedTransport, connection_unsupported, variable_unusable
from fleettrace.errors import ConfigError, HostError
from fleettrace.inventory.endpoint import EndpointSettings
from fleettrace.inventory.extra_vars import parse_extra_vars, with_extra_vars
from fleettrace.inventory.load import load_inventory
from fleettrace.inventory.model import Host
from fleettrace.inventory.pattern import Selection, select
from fleettrace.inventory.read_options import ReadOptions
from fleettrace.inventory.resolver import Resolver
from fleettrace.inventory.selectors import SelectorKind
from fleettrace.inventory.settings import BecomeSettings, ConnectionKind, HostSettings, host_settings
from fleettrace.inventory.shard import stable_shard
from fleettrace.inventory.vault import VaultSecrets, VaultSource, vault_sources
from fleettrace.summary.run import Warn
from fleettrace.sweep.settings import HostTask
from fleettrace.transport.become import check as check_become
from fleettrace.transport.endpoint.model import PortTarget, Tls
from fleettrace.transport.interface import Become, HostKeyPolicy, Target, Transport
from fleettrace.transport.ssh_arguments import parse_arguments
from fleettrace.transport.ssh_query import SshQueries

__all__ = ["Transports", "forget_inventories", "host_tasks", "inventory_name", "inventory_warnings", "select_hosts"]

_Vault = tuple[VaultSource, ...]


@cache
def _load(sources: tuple[str, ...], extra_vars: tuple[str, ...], vault: _Vault, reading: ReadOptions) -> Resolver:
    """Load an inventory once: standard input can be read once, and the plays of a playbook share a script's answer."""
    secrets = _secrets(vault)
    if secrets.sources:
        reading = replace(reading, decrypt=secrets.decrypt)
    return Resolver(with_extra_vars(load_inventory(sources, reading), parse_extra_vars(extra_vars)), secrets)


@cache
def _secrets(vault: _Vault) -> VaultSecrets:
    """Return the vault's passwords, which the plays of a playbook share: the user types each once."""
    return VaultSecrets(vault, lambda question: prompt("the vault password", question, "vault_password_file"))


def forget_inventories() -> None:
    """Read the inventory anew at its next use, and the secrets that commands print. The vault's passwords stay."""
    _load.cache_clear()
    forget_secrets()


def _resolver(options: RunOptions, site: Site) -> Resolver:
    """Return the inventory that the options name, with the values of its variables. Raises `ConfigError`."""
    config = site.config
    files = options.vault_password_file
    if (file := config.text("vault_password_file")) is not None:
        files = (*files, file)
    ids = (*(config.words("vault_identity_list") or ()), *options.vault_id)
    vault = tuple(vault_sources(ids, files, ask=site.ask_vault_pass))
    defaults = ReadOptions()
    reading = ReadOptions(
        ignored_suffixes=config.words("inventory_ignore_extensions") or defaults.ignored_suffixes,
        ignored_patterns=config.words("inventory_ignore_patterns") or (),
        ansible_arguments=(
            *(f"--vault-password-file={file}" for file in options.vault_password_file),
            # A password cannot be typed without a terminal.
            *(f"--vault-id={each}" for each in options.vault_id if not each.endswith("prompt")),
        ),
    )
    return _load(inventory_sources(options, config), options.extra_vars, vault, reading)


def inventory_name(options: RunOptions) -> str:
    """Return the inventory's sources, as absolute paths where they are files. Raises `ConfigError`."""
    sources = inventory_sources(options, read_site(options).config)
    return ",".join(str(Path(source).resolve()) if Path(source).exists() else source for source in sources)


def select_hosts(options: RunOptions) -> Selection:
    """Return the hosts that pattern, limit and shard select, in the inventory's order. Raises `ConfigError`."""
    site = read_site(options)
    inventory = _resolver(options, site).inventory
    selection = select(inventory, options.hosts, with_failed(options.limit))
    hosts = selection.hosts if options.shard is None else stable_shard(selection.hosts, options.shard)
    warnings = (*site.config.warnings, *inventory.warnings, *selection.warnings)
    return replace(selection, hosts=hosts, warnings=warnings)


class Transports:
    """The transports of a run: each is made when a host first needs it, and shared."""

    def __init__(self) -> None:
        self._made: dict[str, Transport] = {}
        self.queries = SshQueries()
        """OpenSSH's answers about ssh_config, which both clients share."""

    def get(self, name: str) -> Transport:
        """Return the transport `ssh`, `openssh` or `local`."""
        if name not in self._made:
            if name == "local":
                from fleettrace.transport.local.transport import LocalTransport

                self._made[name] = LocalTransport()
            elif name == "openssh":
                from fleettrace.transport.openssh.transport import OpenSshTransport

                self._made[name] = OpenSshTransport(self.queries)
            else:
                from fleettrace.transport.fabric.transport import SshTransport

                self._made[name] = SshTransport(self.queries)
        return self._made[name]

    def name_of(self, transport: Transport) -> str:
        """Return the name of a transport that `get` returned."""
        return next((name for name, made in self._made.items() if made is transport), "none")

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
    hosts: Sequence[Host], options: RunOptions, site: Site, transports: Transports, passwords: Passwords | None
) -> list[HostTask]:
    """Return a task for each host. One that fleettrace cannot reach gets a task that reports why.

    Without `passwords` no secret of the inventory is read or asked for, for a caller that connects to no host.

    Raises `ConfigError` where that holds for all of them because of their variables.
    """
    resolver = _resolver(options, site)
    tasks: list[HostTask] = []
    first_error: ConfigError | None = None
    for host in hosts:
        try:
            settings = host_settings(host, site.config, resolver, secrets=passwords is not None)
            tasks.append(_task(settings, options, site, transports, passwords or Passwords()))
        except ConfigError as error:
            first_error = first_error or error
            tasks.append(_unusable(host.name, variable_unusable(str(error))))
    if first_error is not None and all(isinstance(task.transport, UnsupportedTransport) for task in tasks):
        raise first_error
    return tasks


def inventory_warnings(selection: Selection) -> list[Warn]:
    """Return warnings: what the inventory's readers ignored, and names of the pattern that match no host."""
    return [Warn("inventory", warning) for warning in selection.warnings]


def _task(
    settings: HostSettings, options: RunOptions, site: Site, transports: Transports, passwords: Passwords
) -> HostTask:
    if settings.endpoint is not None:
        target = Target(settings.name, connect_timeout=site.connect_timeout)
        return HostTask(settings.name, target, NoLogin(), endpoint=_endpoint(settings.endpoint))
    if settings.connection is ConnectionKind.UNSUPPORTED:
        return _unusable(settings.name, connection_unsupported(settings.connection_name))
    return HostTask(
        name=settings.name,
        target=_target(settings, options, site, passwords),
        transport=transports.get(_transport(settings, options)),
        bpftrace=settings.bpftrace,
        scope=settings.scope.value,
        selects=instance_selection(settings.instances),
        ports=tuple(int(each.value) for each in settings.instances if each.kind is SelectorKind.PORT),
    )


def _endpoint(settings: EndpointSettings) -> PortTarget:
    tls = settings.tls
    given = None if tls is None else Tls(tls.ca, tls.certificate, tls.key, tls.server_name, tls.verify)
    return PortTarget(settings.address, settings.port, given)


def _unusable(name: str, error: HostError) -> HostTask:
    return HostTask(name=name, target=Target(name), transport=UnsupportedTransport(error))


def _transport(settings: HostSettings, options: RunOptions) -> str:
    """Return the transport's name; for the SSH client, `--transport` takes precedence over the inventory."""
    if settings.connection is ConnectionKind.LOCAL:
        return "local"
    return options.transport or settings.client.value


def _target(settings: HostSettings, options: RunOptions, site: Site, passwords: Passwords) -> Target:
    own = secret(settings.password)
    try:
        parse_arguments(settings.ssh_arguments)
    except ConfigError as error:
        raise ConfigError(
            f"ansible_ssh_args, _common_args or _extra_args of {settings.name}: {error.message}"
        ) from None
    return Target(
        name=settings.name,
        address=settings.address,
        port=settings.port,
        user=settings.user,
        key_file=settings.key_file,
        password=passwords.login if own is None else own,
        become=None if settings.become is None else _become(settings.name, settings.become, passwords.become),
        connect_timeout=settings.connect_timeout or site.connect_timeout,
        host_key=_host_key(settings, options),
        ssh_arguments=settings.ssh_arguments,
        ssh_executable=settings.ssh_executable,
        ssh_config=None if options.ssh_config is None else Path(options.ssh_config),
    )


def _become(host: str, settings: BecomeSettings, password: str | None) -> Become:
    own = secret(settings.password)
    password = password if own is None else own
    become = Become(settings.method, settings.user, settings.executable, settings.flags, password)
    try:
        check_become(become)
    except ValueError as error:
        raise ConfigError(f"ansible_become_user, _exe or _flags of {host}: {error}") from None
    return become


def _host_key(settings: HostSettings, options: RunOptions) -> HostKeyPolicy | None:
    """Return the policy for unknown host keys; None leaves it to the options for ssh and to ssh_config."""
    if options.host_key is not None:
        return HostKeyPolicy(options.host_key)
    return HostKeyPolicy.ACCEPT_NEW if settings.host_key_checking is False else None
