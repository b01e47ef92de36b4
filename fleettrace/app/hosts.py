"""`fleettrace hosts`: list the hosts that a pattern selects, with their variables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fleettrace.app.options import RunOptions
from fleettrace.app.site import read_site
from fleettrace.app.targets import Transports, host_tasks, select_hosts
from fleettrace.app.unsupported import UnsupportedTransport
from fleettrace.inventory.model import Host
from fleettrace.inventory.pattern import Selection
from fleettrace.report.escape import escape_text
from fleettrace.yaml_reader.values import Vaulted, dump_yaml

__all__ = ["host_lines", "host_list"]

_SECRET = re.compile(r"pass|secret|token|credential", re.IGNORECASE)
_MASK = "********"


def host_lines(options: RunOptions, warn: Callable[[str], None]) -> Iterator[str]:
    """Yield a line for each selected host: its name, then its variables as `name=JSON`, secrets masked.

    With `quiet`, the names only; with the output `json` or `yaml`, an inventory of them. `warn` receives what cannot
    be used. Raises `ConfigError`.
    """
    selection = select_hosts(options)
    _inform(selection, options, warn)
    _check(selection.hosts, options, warn)
    if options.output == "json":
        yield json.dumps(_listing(selection.hosts), indent=2, default=str)
    elif options.output == "yaml":
        yield _yaml(selection.hosts)
    else:
        for host in selection.hosts:
            words = [host.name]
            if not options.quiet:
                words += [f"{name}={_json(_shown(name, value))}" for name, value in sorted(host.variables.items())]
            yield escape_text(" ".join(words))


def host_list(options: RunOptions, warn: Callable[[str], None]) -> Iterator[str]:
    """Yield the lines of `--list-hosts`, as `ansible --list-hosts` prints them. Raises `ConfigError`."""
    selection = select_hosts(options)
    _inform(selection, options, warn)
    yield f"  hosts ({len(selection.hosts)}):"
    yield from (escape_text(f"    {host.name}") for host in selection.hosts)


def _inform(selection: Selection, options: RunOptions, warn: Callable[[str], None]) -> None:
    for line in (*selection.warnings, *(selection.notes if options.verbose else ())):
        warn(line)


def _check(hosts: Sequence[Host], options: RunOptions, warn: Callable[[str], None]) -> None:
    """Report variables that cannot be used. Raises `ConfigError` where that leaves no host."""
    tasks = host_tasks(hosts, options, read_site(options), Transports(), None)
    for task in tasks:
        if isinstance(task.transport, UnsupportedTransport):
            warn(f"{task.name}: {task.transport.error.message}")


def _shown(name: object, value: object) -> object:
    """Return a value with its secrets masked, at any depth."""
    if isinstance(value, Vaulted) or _SECRET.search(str(name)):
        return _MASK
    if isinstance(value, dict):
        return {key: _shown(key, each) for key, each in value.items()}
    return [_shown("", each) for each in value] if isinstance(value, list) else value


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _variables(host: Host) -> dict[str, object]:
    return {name: _shown(name, value) for name, value in host.variables.items()}


def _listing(hosts: Sequence[Host]) -> dict[str, Any]:
    """Return the hosts in the form of `ansible-inventory --list`, with their variables merged."""
    groups: dict[str, dict[str, list[str]]] = {}
    for host in hosts:
        for group in host.groups:
            groups.setdefault(group, {"hosts": []})["hosts"].append(host.name)
    meta = {"hostvars": {host.name: _variables(host) for host in hosts}}
    return {"_meta": meta, "all": {"hosts": [host.name for host in hosts], "children": list(groups)}, **groups}


def _yaml(hosts: Sequence[Host]) -> str:
    children: dict[str, dict[str, dict[str, None]]] = {}
    for host in hosts:
        for group in host.groups:
            children.setdefault(group, {"hosts": {}})["hosts"][host.name] = None
    values = json.loads(json.dumps({host.name: _variables(host) for host in hosts}, default=str))
    document = {"all": {"hosts": values, **({"children": children} if children else {})}}
    return dump_yaml(document)
