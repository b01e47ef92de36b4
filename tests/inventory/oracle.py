"""Ansible itself, called in this process: what do an inventory and a pattern mean to it?"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

__all__ = ["Ansible", "expanded_range", "option", "parsed_address"]

# Ansible sets them on every host.
_MAGIC = frozenset({"inventory_file", "inventory_dir"})


def _ansible(module: str) -> Any:
    return importlib.import_module(f"ansible.{module}")


@functools.cache
def _prepare() -> None:
    _ansible("plugins.loader").init_plugin_loader()
    display = _ansible("utils.display").Display
    # The tests ask for patterns that match nothing, and Ansible warns about each.
    display.warning = display.deprecated = display.error_as_warning = lambda *_args, **_kwargs: None


def parsed_address(text: str) -> tuple[str, int | None] | None:
    """Return the address and the port that Ansible parses, None if it refuses the text."""
    try:
        host, port = _ansible("parsing.utils.addresses").parse_address(text, allow_ranges=True)
    except _ansible("errors").AnsibleError:
        return None
    return str(host), port


def expanded_range(text: str) -> list[str] | None:
    """Return Ansible's expansion of the ranges in a host's name, None if it refuses them."""
    try:
        return [str(name) for name in _ansible("plugins.inventory").expand_hostname_range(text)]
    except Exception:  # ValueError from deep inside as well as Ansible's own errors
        return None


def option(plugin: str, name: str, variables: dict[str, Any]) -> Any:
    """Return the option `name` that Ansible's `ssh` or `sudo` plugin takes from these variables."""
    _prepare()
    loader = _ansible("plugins.loader")
    if plugin == "sudo":
        found = loader.become_loader.get("sudo")
    else:
        found = loader.connection_loader.get("ssh", _ansible("playbook.play_context").PlayContext(), None)
    found.set_options(var_options=variables)
    return found.get_option(name)


class Ansible:
    """Sources of an inventory in Ansible's InventoryManager and VariableManager; `password` opens their vaults.
    `strict`: an error of Ansible's for a source that it cannot read.

    Use each path only once: Ansible caches the content of `group_vars` and `host_vars` for the life of the process.
    """

    def __init__(self, *sources: Path | str, password: str | None = None, strict: bool = False) -> None:
        _prepare()
        loader = _ansible("parsing.dataloader").DataLoader()
        loader.set_basedir("/")
        if password is not None:
            secret = _ansible("parsing.vault").VaultSecret(password.encode())
            loader.set_vault_secrets([("default", secret)])
            context = _ansible("parsing.vault").VaultSecretsContext
            if context.current(optional=True) is None:
                context.initialize(context([("default", secret)]))
        named = [str(source) for source in sources]
        # Else it goes on with the hosts above a line that it cannot read.
        _ansible("constants").INVENTORY_ANY_UNPARSED_IS_FAILED = strict
        self._loader: Any = loader
        self.manager: Any = _ansible("inventory.manager").InventoryManager(loader=loader, sources=named)
        self._variables: Any = _ansible("vars.manager").VariableManager(loader=loader, inventory=self.manager)
        # It makes itself known to the variable manager.
        _ansible("vars.hostvars").HostVars(self.manager, self._variables, loader)

    def hosts(self, pattern: str, limit: str | None = None) -> list[str] | None:
        """Return the hosts that the pattern selects, in order, None if Ansible reports an error."""
        self.manager.clear_caches()
        self.manager._inventory.localhost = next(
            (host for name, host in self.manager.hosts.items() if name in ("127.0.0.1", "localhost", "::1")), None
        )
        try:
            self.manager.subset(limit)
            return [str(host.name) for host in self.manager.get_hosts(pattern)]
        except Exception:  # Ansible raises its own errors and, for a lone "!" or "&", an IndexError
            return None
        finally:
            self.manager.subset(None)

    def all_names(self) -> list[str]:
        """Return every host, in the order of the first mention."""
        return [str(name) for name in self.manager.hosts]

    def groups_of(self, host: str) -> list[str]:
        return [str(name) for name in self.manager.hosts[host].get_magic_vars()["group_names"]]

    def variables(self, host: str) -> dict[str, Any]:
        """Return the merged variables of one host, without the magic ones."""
        found = self._variables.get_vars(host=self.manager.hosts[host], include_hostvars=False, stage="all")
        magic = self._variables.get_vars(include_hostvars=False, stage="all").keys()
        names = found.keys() - magic - _MAGIC - {"inventory_hostname", "inventory_hostname_short", "group_names"}
        names -= {"ansible_facts", "ansible_local"}
        return {str(name): found[name] for name in names}

    def evaluated(self, host: str, names: list[str]) -> dict[str, Any]:
        """Return some variables of a host with their templates evaluated, without those that come to `omit`."""
        variables = self._variables.get_vars(host=self.manager.hosts[host])
        templar = _ansible("template").Templar(loader=self._loader, variables=variables)
        found = {}
        for name in names:
            try:
                found[name] = templar.template(variables[name])
            except _ansible("errors").AnsibleValueOmittedError:
                continue
        return found

    def order_is_defined(self, group: str) -> bool:
        """Return whether Ansible's order of the group's hosts is deterministic.

        Ansible walks the levels of the tree with sets of groups, so below the first level the order is deterministic
        only while at most one group of a level has children.
        """
        level = [self.manager.groups[group]]
        while level:
            parents = [each for each in level if each.child_groups]
            if len(parents) > 1:
                return False
            level = parents[0].child_groups if parents else []
        return True
