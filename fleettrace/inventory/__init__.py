"""Hosts, groups, variables and host patterns, with Ansible's meaning.

`load_inventory` reads one source, `select` applies host patterns, `host_settings` checks a host's variables. The only
effects are reading inventory files and running an inventory script.
"""

from fleettrace.inventory.load import default_sources, load_inventory
from fleettrace.inventory.model import Group, Host, Inventory
from fleettrace.inventory.pattern import Selection, select
from fleettrace.inventory.selectors import InstanceSelector, SelectorKind
from fleettrace.inventory.settings import (
    ConnectionKind,
    HostSettings,
    InstanceScope,
    SecretCommand,
    SshClient,
    host_settings,
)
from fleettrace.inventory.shard import stable_shard

__all__ = [
    "ConnectionKind",
    "Group",
    "Host",
    "HostSettings",
    "InstanceScope",
    "InstanceSelector",
    "Inventory",
    "SecretCommand",
    "Selection",
    "SelectorKind",
    "SshClient",
    "default_sources",
    "host_settings",
    "load_inventory",
    "select",
    "stable_shard",
]
