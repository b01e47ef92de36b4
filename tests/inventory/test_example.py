"""`inventory.example.yaml` loads, has every `fleettrace_` variable, and means the same to Ansible."""

from __future__ import annotations

from pathlib import Path

from fleettrace.inventory import ConnectionKind, InstanceScope, SecretCommand, host_settings, load_inventory, select
from fleettrace.inventory.settings import OWN_VARIABLES
from tests.inventory.oracle import Ansible

EXAMPLE = Path(__file__).parents[2] / "inventory.example.yaml"


def test_example_loads() -> None:
    inventory = load_inventory([str(EXAMPLE)])
    settings = {host.name: host_settings(host) for host in select(inventory, "all").hosts}
    assert len(settings) == 512 + 256 + 4 + 3 + 2 + 1 + 1 + 1
    assert inventory.warnings == ()
    assert settings["cache-007.west.example.net"].ssh_arguments == (
        "-o",
        "ProxyJump=tracer@bastion.west.example.net:2200",
    )
    become = settings["cache-001.east.example.net"].become
    assert become is not None and become.password == SecretCommand("pass show fleet/sudo")
    assert settings["tenant-red"].scope is InstanceScope.NETNS
    assert settings["controller"].connection is ConnectionKind.LOCAL
    assert settings["managed-cache"].endpoint is not None
    assert len(settings["node-a.k8s.example.net"].instances) == 4


def test_example_has_every_own_variable() -> None:
    text = EXAMPLE.read_text()
    assert all(f"{name}:" in text for name in OWN_VARIABLES)


def test_ansible_reads_the_same_example() -> None:
    inventory, ansible = load_inventory([str(EXAMPLE)]), Ansible(EXAMPLE)
    assert list(inventory.hosts) == ansible.all_names()
    for name in ("cache-001.east.example.net", "tenant-blue", "node-d.k8s.example.net", "controller"):
        assert dict(inventory.hosts[name].variables) == ansible.variables(name)
