"""Measure the time to load and select 10,000 hosts and to read their settings, beside Ansible's InventoryManager.

    python -m benchmarks.inventory_load [--hosts 10000] [--rounds 5] [--no-ansible]

Prints the fastest round of each step, in seconds of this process's CPU, so that a busy machine matters less. The rounds
of INI and YAML alternate, and their ratio is that of the fastest ones.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fleettrace.inventory import host_settings, load_inventory, select

__all__ = ["main"]


def write_fleet(path: Path, hosts: int, *, with_ranges: bool = False) -> None:
    """Write an inventory of `hosts` hosts in 20 groups, with three variables for each host or with ranges of hosts."""
    lines = ["all:", "  vars:", "    ansible_user: tracer", "  children:"]
    for group in range(20):
        lines += [f"    cache_{group:02}:", "      vars:", "        fleettrace_scope: host", "      hosts:"]
        first, last = group * hosts // 20, (group + 1) * hosts // 20
        if with_ranges:
            lines.append(f"        cache-[{first:06}:{last - 1:06}].example.net:")
            continue
        for number in range(first, last):
            lines += [
                f"        cache-{number:06}.example.net:",
                f"          ansible_host: 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
                f"          ansible_port: {2200 + number % 10}",
                f"          rack: r{number % 40}",
            ]
    path.write_text("\n".join(lines) + "\n")


def write_ini(path: Path, hosts: int) -> None:
    """Write the same fleet, with three variables for each host, as INI."""
    lines = ["[all:vars]", "ansible_user=tracer"]
    for group in range(20):
        lines += [f"[cache_{group:02}:vars]", "fleettrace_scope=host", f"[cache_{group:02}]"]
        for number in range(group * hosts // 20, (group + 1) * hosts // 20):
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            variables = f"ansible_host={address} ansible_port={2200 + number % 10} rack=r{number % 40}"
            lines.append(f"cache-{number:06}.example.net {variables}")
    path.write_text("\n".join(lines) + "\n")


def fastest(action: Callable[[], object], rounds: int) -> float:
    """Return the CPU seconds of the fastest of `rounds` calls."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def with_ansible(path: Path) -> None:
    """Parse the same file with Ansible."""
    loader = importlib.import_module("ansible.parsing.dataloader").DataLoader()
    importlib.import_module("ansible.inventory.manager").InventoryManager(loader=loader, sources=[str(path)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-ansible", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path, ranges, ini = (Path(directory) / name for name in ("fleet.yaml", "ranges.yaml", "fleet"))
        write_fleet(path, options.hosts)
        write_ini(ini, options.hosts)
        write_fleet(ranges, options.hosts, with_ranges=True)
        inventory = load_inventory([str(path)])
        steps: dict[str, Callable[[], object]] = {
            "load, three variables a host": lambda: load_inventory([str(path)]),
            "load, named by ranges": lambda: load_inventory([str(ranges)]),
            "select 'cache-*:!cache_03'": lambda: select(inventory, "cache-*:!cache_03"),
            "read every host's settings": lambda: [host_settings(host) for host in inventory.hosts.values()],
        }
        yaml_s, ini_s = (
            min(times)
            for times in zip(
                *(
                    (fastest(lambda: load_inventory([str(path)]), 1), fastest(lambda: load_inventory([str(ini)]), 1))
                    for _ in range(options.rounds)
                ),
                strict=True,
            )
        )
        print(f"{'load the same as INI':32} {ini_s:7.3f} s, {ini_s / yaml_s:.2f} x YAML")
        for name, action in steps.items():
            print(f"{name:32} {fastest(action, options.rounds):7.3f} s")
        if not options.no_ansible:
            importlib.import_module("ansible.plugins.loader").init_plugin_loader()
            print(f"{'ansible: InventoryManager':32} {fastest(lambda: with_ansible(path), 1):7.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
