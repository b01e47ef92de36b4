"""Measure the time to load and select 10,000 hosts and to read their settings, beside Ansible's InventoryManager.

    python -m benchmarks.inventory_load [--hosts 10000] [--rounds 5] [--no-ansible]

Prints the fastest round of each step, in seconds of this process's CPU, so that a busy machine matters less.
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
        path, ranges = Path(directory) / "fleet.yaml", Path(directory) / "ranges.yaml"
        write_fleet(path, options.hosts)
        write_fleet(ranges, options.hosts, with_ranges=True)
        inventory = load_inventory([str(path)])
        steps: dict[str, Callable[[], object]] = {
            "load, three variables a host": lambda: load_inventory([str(path)]),
            "load, named by ranges": lambda: load_inventory([str(ranges)]),
            "select 'cache-*:!cache_03'": lambda: select(inventory, "cache-*:!cache_03"),
            "read every host's settings": lambda: [host_settings(host) for host in inventory.hosts.values()],
        }
        for name, action in steps.items():
            print(f"{name:32} {fastest(action, options.rounds):7.3f} s")
        if not options.no_ansible:
            importlib.import_module("ansible.plugins.loader").init_plugin_loader()
            print(f"{'ansible: InventoryManager':32} {fastest(lambda: with_ansible(path), 1):7.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
