"""Which hosts there are, what is known about each, and which of them a pattern selects, as Ansible has it.

`load_inventory` reads one source, `select` applies host patterns, `host_settings` types a host's variables. Pure, but
for reading inventory files and running an inventory script.
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
