"""A run imports what it uses: start-up is paid once for each run, whatever the number of its hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
before = set(sys.modules)
from fleettrace.cli.main import main
main(sys.argv[1:])
print("", *(sys.modules.keys() - before), sep="\\n")
"""
READS_OPTIONS_AND_INVENTORY = {
    "app", "atomic_file", "binary.elf", "binary.work", "cli", "errors", "inventory", "node.model", "probes.model",
    "probes.script", "probes.tags", "report.escape", "report.formats", "report.host_folding", "report.interface",
    "report.items", "report.redact", "store.history.retention", "summary.clients", "summary.counts", "summary.fleet",
    "summary.host_clients", "summary.host_stats", "summary.items", "summary.key", "summary.run",
    "sweep.cancellation", "sweep.events", "sweep.settings", "sweep.waves", "text_format",
    "transport.become", "transport.endpoint.model", "transport.interface", "transport.script_errors",
    "transport.ssh_arguments", "transport.ssh_config_reader", "transport.ssh_errors", "transport.ssh_query",
    "transport.text", "tui.progress", "yaml_reader",
}  # fmt: skip
"""What a run without a host may import of fleettrace: a package with all of its modules, or single modules."""
UNUSED = {
    "asyncio", "decimal", "difflib", "email", "fractions", "http", "logging", "random", "sqlite3", "ssl", "statistics",
    "tomllib", "unittest", "uuid", "xml",
}  # fmt: skip
"""Modules of the standard library that take long."""


def imported(tmp_path: Path, inventory: str, *arguments: str) -> set[str]:
    path = tmp_path / "inventory.ini"
    path.write_text(inventory)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETTRACE_", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", "-i", str(path), "--output", "json", "--no-store", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    return set(done.stdout.rpartition("\n\n")[2].split())


def unexpected(module: str) -> bool:
    package, _, name = module.partition(".")
    if package != "fleettrace" or not name:
        return package != "fleettrace" and package not in sys.stdlib_module_names
    parts = name.split(".")
    begun = {".".join(parts[:size]) for size in range(1, len(parts) + 1)}
    parents = any(each.startswith(f"{name}.") for each in READS_OPTIONS_AND_INVENTORY)
    return not (parents or begun & READS_OPTIONS_AND_INVENTORY)


def test_run_without_a_host_imports_no_sweep(tmp_path: Path) -> None:
    found = imported(tmp_path, "[caches]\n")
    assert "fleettrace.inventory.load" in found
    assert {module for module in found if unexpected(module)} == set()
    assert found & UNUSED == set()


def test_run_over_ssh_imports_no_other_feature(tmp_path: Path) -> None:
    found = imported(tmp_path, "[caches]\nh1 ansible_host=127.0.0.1 ansible_port=1\n", "--retries", "0")
    assert {"fleettrace.sweep.engine", "paramiko"} <= found
    features = ("node.detach", "node.watching", "sweep.detached", "sweep.watch", "store.diff")
    others = (*(f"fleettrace.{name}" for name in features), "rich", "capstone", "jinja2")
    assert {module for module in found if module.startswith(others)} == set()
    assert found & {"statistics", "tomllib", "uuid"} == set()
