"""The corpus: small inventories in the shapes that sites have, and what Ansible and fleettrace read in each.

python -m tests.inventory.corpus      # writes docs/inventories.md

The shapes are those of public repositories; the files were written for this corpus.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.load import load_inventory
from fleettrace.inventory.model import Inventory
from fleettrace.inventory.pattern import select
from fleettrace.inventory.read_options import ReadOptions
from fleettrace.inventory.resolver import Resolver
from fleettrace.inventory.settings import host_settings
from fleettrace.inventory.vault import VaultSecrets, vault_sources
from fleettrace.yaml_reader.values import Vaulted
from tests.inventory.oracle import Ansible

__all__ = ["CASES", "PAGE", "Case", "Reading", "by_ansible", "by_fleettrace", "page"]

ROOT = Path(__file__).parent / "corpus"
PAGE = Path(__file__).parent.parent.parent / "docs/inventories.md"
PASSWORD = "corpus"


@dataclass(frozen=True, slots=True)
class Case:
    """One inventory of the corpus."""

    name: str
    shape: str
    sources: tuple[str, ...]
    asked: bool = False
    """Only Ansible's plugins read it: fleettrace asks `ansible-inventory`."""
    vault: bool = False
    why: str = ""
    """Why the readings differ."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader makes of an inventory."""

    hosts: tuple[str, ...]
    """In order of the first mention."""
    selected: tuple[str, ...]
    """In the order in which the pattern `all` selects them."""
    groups: Mapping[str, list[str]]
    variables: Mapping[str, Mapping[str, object]]
    targets: Mapping[str, tuple[str, int | None, str | None, str | None]]
    """Address, port, user and the common arguments for ssh, with templates evaluated."""


def _cases() -> list[Case]:
    listed = tomllib.loads((ROOT / "corpus.toml").read_text())
    cases = []
    for name, entry in listed.items():
        names = entry.pop("sources", ["hosts"])
        sources = tuple(each if each.endswith(",") else str(ROOT / name / each) for each in names)
        cases.append(Case(name, sources=sources, **entry))
    return cases


CASES = {case.name: case for case in _cases()}


def _password_file(directory: Path) -> Path:
    path = directory / "password"
    path.write_text(PASSWORD + "\n")
    return path


def by_fleettrace(case: Case, directory: Path) -> Reading:
    """Read a case as `fleettrace` does; `directory` takes the vault's password. Raises `ConfigError`."""
    secrets = VaultSecrets(())
    options = ReadOptions()
    if case.vault:
        file = str(_password_file(directory))
        secrets = VaultSecrets(tuple(vault_sources((), (file,), ask=False)))
        options = ReadOptions(decrypt=secrets.decrypt, ansible_arguments=(f"--vault-password-file={file}",))
    inventory = load_inventory(case.sources, options)
    resolver = Resolver(inventory, secrets)
    return Reading(
        tuple(inventory.hosts),
        tuple(host.name for host in select(inventory).hosts),
        {name: list(host.groups) for name, host in inventory.hosts.items()},
        {name: {key: _plain(value) for key, value in host.variables.items()} for name, host in inventory.hosts.items()},
        {name: _target(inventory, resolver, name) for name in inventory.hosts},
    )


def _target(inventory: Inventory, resolver: Resolver, name: str) -> tuple[str, int | None, str | None, str | None]:
    host = inventory.hosts[name]
    settings = host_settings(host, resolver=resolver, secrets=False) if _is_ours(host.variables) else None
    if settings is None:
        return name, None, None, None
    return settings.address or name, settings.port, settings.user, " ".join(settings.ssh_arguments) or None


def _is_ours(variables: Mapping[str, object]) -> bool:
    return str(variables.get("ansible_connection", "ssh")).rpartition(".")[2] in ("ssh", "smart", "local")


def by_ansible(case: Case) -> Reading:
    """Read a case with the installed ansible-core. Call it once for each case."""
    ansible = Ansible(*case.sources, password=PASSWORD if case.vault else None)
    names = ansible.all_names()
    selected = ansible.hosts("all")
    assert selected is not None
    return Reading(
        tuple(names),
        tuple(selected),
        {name: ansible.groups_of(name) for name in names},
        {name: {key: _plain(value) for key, value in ansible.variables(name).items()} for name in names},
        {name: _ansible_target(ansible, name) for name in names},
    )


def _ansible_target(ansible: Ansible, name: str) -> tuple[str, int | None, str | None, str | None]:
    raw = ansible.variables(name)
    if not _is_ours(raw):
        return name, None, None, None
    options = ansible.evaluated(name, [key for key in raw if key.startswith("ansible_")])

    def first(*keys: str) -> Any:
        # As in the options of Ansible's ssh plugin, the last variable that is set counts.
        return next((options[key] for key in reversed(keys) if options.get(key) not in (None, "")), None)

    port = first("ansible_port", "ansible_ssh_port")
    arguments = [first(f"ansible_ssh_{each}args") for each in ("", "common_", "extra_")]
    words = [word for each in arguments if each for word in shlex.split(each)]
    return (
        str(first("ansible_host", "ansible_ssh_host") or name),
        None if port is None else int(port),
        first("ansible_user", "ansible_ssh_user"),
        " ".join(words) or None,
    )


def _plain(value: object) -> object:
    """Return a value of either reader in a form that both share."""
    if isinstance(value, Vaulted) or type(value).__name__ == "EncryptedString":
        return "<vault>"
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    # 1 and True are equal in Python, but not to a user.
    return bool(value) if isinstance(value, bool) else json.dumps(value, default=str)


@functools.cache
def compared(directory: Path) -> dict[str, tuple[int, int, str]]:
    """Return of each case the number of Ansible's hosts, of ours, and "equal" or the difference."""
    return {case.name: _compared(case, directory) for case in CASES.values()}


def _compared(case: Case, directory: Path) -> tuple[int, int, str]:
    theirs = by_ansible(case)
    try:
        ours = by_fleettrace(case, directory)
    except ConfigError as error:
        return len(theirs.hosts), 0, f"refused ({error.message})"
    differing = [part for part in Reading.__slots__ if getattr(ours, part) != getattr(theirs, part)]
    return len(theirs.hosts), len(ours.hosts), "equal" if not differing else f"other {', '.join(differing)}"


_TEXT = """\
# Inventories

fleettrace reads an Ansible inventory as it is. This table is of small inventories in the shapes that sites have
(`tests/inventory/corpus/`). For each of them a test compares with the installed ansible-core: the hosts and their
order, the groups of each host, its variables, and the address, port, user and ssh options that templates come to.

`python -m tests.inventory.corpus` writes it; {equal} of {all} are equal. "asked" means that `ansible-inventory` reads
the source for fleettrace, because only Ansible has the plugin.

| inventory | shape | hosts in Ansible | hosts here | equal |
|---|---|---|---|---|
"""


def page(directory: Path) -> str:
    """Return the page with the table."""
    rows = []
    found = compared(directory)
    for case in CASES.values():
        theirs, ours, verdict = found[case.name]
        verdict = f"{verdict}, asked" if case.asked else f"{verdict}: {case.why}" if case.why else verdict
        rows.append(f"| `{case.name}` | {case.shape} | {theirs} | {ours} | {verdict} |\n")
    equal = sum(verdict == "equal" for _, _, verdict in found.values())
    return _TEXT.format(equal=equal, all=len(found)) + "".join(rows)


def main() -> None:
    """Write the page."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        PAGE.write_text(page(Path(name)))


if __name__ == "__main__":
    os.environ.pop("FLEET_USER", None)
    main()
