"""The options of a run as one typed value, made by the command line, by a play or by a Python program."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.app.option_model import OptionValues
from fleettrace.app.option_values import DEFAULT_RETENTION
from fleettrace.errors import ConfigError
from fleettrace.probes.model import ProbeKind, ProbeOptions
from fleettrace.probes.script import read_script
from fleettrace.store.history.retention import Retention
from fleettrace.sweep.waves import WaveSize

__all__ = ["ReportOptions", "RunOptions", "identity", "probe_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions(OptionValues):
    """How a report is written. The fields are the options of `fleettrace report`, without their dashes."""

    top: int = 20
    sort: str = "requests"
    output: str = "table"
    out: str | None = None
    """None: stdout."""
    html: str | None = None
    prometheus_keys: bool = False
    hosts_detail: bool = False
    no_color: bool = False
    template: tuple[re.Pattern[bytes], ...] = ()
    redact: str | None = None
    redact_key_file: str | None = None
    store: str | None = None
    quiet: bool = False
    verbose: int = 0
    """0 to 3, the number of `-v`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(ReportOptions):
    """What a run traces, on which hosts, and what becomes of it: the options of `fleettrace run`, without their dashes.

    Durations are seconds, shares are 0 to 1.
    """

    inventory: tuple[str, ...] = ()
    """Sources, merged in order; none: what Ansible's configuration names, else the first of the usual files."""
    endpoint: tuple[str, ...] = ()
    """memcached ports to ask without a login, each a host of the inventory."""
    hosts: str = "all"
    limit: str | None = None
    shard: str | None = None
    extra_vars: tuple[str, ...] = ()
    """As on the command line: `NAME=VALUE`, `@FILE` or a mapping in braces."""

    duration: float = 10.0
    probe: str = "auto"
    ops: frozenset[str] | None = None
    """None: requests of every kind."""
    misses: bool = False
    sizes: bool = False
    clients: bool = False
    ask: str = "me"
    no_ask: bool = False
    script: str | None = None
    max_cost: float = 0.5
    allow_preemptible: bool = False

    forks: int | None = None
    """None: ansible.cfg's, else 64."""
    serial: tuple[WaveSize, ...] | None = None
    max_fail: float | None = None
    retries: int = 2
    host_key: str | None = None
    """None: as ansible.cfg and the inventory say, else `strict`."""
    transport: str | None = None
    """None: the inventory's choice of the SSH client, else `ssh`."""
    ssh_config: str | None = None
    connect_timeout: float | None = None
    """None: ansible.cfg's, else 10 s."""
    user: str | None = None
    private_key: str | None = None
    ssh_common_args: str | None = None
    ssh_extra_args: str | None = None
    become: bool = False
    become_method: str | None = None
    become_user: str | None = None
    ask_pass: bool = False
    deadline: float | None = 300.0
    """None: no limit."""
    min_ok: float = 0.5
    ask_become_pass: bool = False
    vault_password_file: tuple[str, ...] = ()
    vault_id: tuple[str, ...] = ()
    ask_vault_pass: bool = False
    no_ansible_cfg: bool = False

    save: str | None = None
    keep: Retention = field(default=DEFAULT_RETENTION)
    no_store: bool = False
    log: str | None = None
    resume: str | None = None
    name: str | None = None
    splay: float | None = None
    detach: bool = False
    detach_ttl: float = 900.0
    playbook: str = ""
    """The play that the run belongs to; in the history, a play's runs are compared with each other."""
    playbook_file: str = ""
    """The requested playbook, as an absolute path."""


_IDENTITY = ("limit", "shard", "probe", "ops", "script")
"""The options, beside the pattern, that decide which requests of which hosts a run counts."""


def identity(options: RunOptions) -> str:
    """Return the options that decide what a run counts, as JSON that is equal for equal options."""
    given = {name: getattr(options, name) for name in _IDENTITY}
    if options.script is not None:
        # An edited program counts something else.
        given["script"] = f"{options.script} {_digest(Path(options.script))}"
    return json.dumps(
        {name: value for name, value in given.items() if value is not None}, sort_keys=True, default=_plain
    )


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError:
        return "unreadable"


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def probe_options(options: RunOptions) -> ProbeOptions:
    """Return what `--probe`, `--ops`, `--misses`, `--sizes`, `--clients` and `--script` request.

    Raises `ConfigError`.
    """
    kind = None if options.probe == "auto" else ProbeKind(options.probe)
    if options.script is not None:
        others = {
            "--probe": kind is not None,
            "--ops": options.ops is not None,
            "--misses": options.misses,
            "--sizes": options.sizes,
            "--clients": options.clients,
        }
        for flag, given in others.items():
            if given:
                raise ConfigError(f"{flag} has no effect on a program of --script: leave one of them out")
        return ProbeOptions(script=read_script(Path(options.script)))
    if kind not in (None, ProbeKind.ITEM) and (options.misses or options.sizes or options.clients):
        flag = "--misses" if options.misses else "--sizes" if options.sizes else "--clients"
        raise ConfigError(f"{flag} needs the probe kind item: leave --probe {kind} out")
    if options.clients and options.detach:
        raise ConfigError(
            "--clients with --detach: the sockets of a host are read during its trace; leave one of them out"
        )
    return ProbeOptions(
        probe_kind=kind, ops=options.ops, misses=options.misses, sizes=options.sizes, clients=options.clients
    )
