"""A sweep that fails or is skipped is visible in the exporter's metrics; the inventory is read before each one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.app.exclusive import lock_directory, run_lock
from tests.e2e.exporter import Exporter, exporting


def write_inventory(path: Path, *hosts: str) -> None:
    """Write an inventory of hosts that refuse connections."""
    path.write_text("".join(f"{host} ansible_host=127.0.0.1 ansible_port=1\n" for host in hosts))


def options(inventory: Path, *more: str) -> list[str]:
    return ["-i", str(inventory), "--duration", "1s", "--retries", "0", "--interval", "1h", *more]


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exporter") / "inventory"


@pytest.fixture(scope="module")
def running(inventory: Path) -> Iterator[Exporter]:
    write_inventory(inventory, "one")
    with exporting(options(inventory)) as running:
        running.wait_for_sweep("failed")
        yield running


@pytest.fixture
def exporter(running: Exporter, inventory: Path) -> Exporter:
    """The exporter after a sweep of two hosts that do not answer."""
    write_inventory(inventory, "one", "two")
    running.sweep_again("failed")
    return running


def test_fleet_without_answers_is_a_failed_sweep(exporter: Exporter) -> None:
    samples = exporter.samples()
    assert samples["exporter_last_sweep_succeeded", ()] == 0
    assert samples["hosts", (("state", "unreachable"),)] == 2
    assert samples["host_ok", (("host", "one"),)] == 0
    assert not [name for name, _ in samples if name.endswith("requests_per_second")]


def test_each_sweep_reads_the_inventory(exporter: Exporter, inventory: Path) -> None:
    write_inventory(inventory, "two", "three")
    exporter.sweep_again("failed")
    assert exporter.value("host_ok", host="one") is None
    assert exporter.value("host_ok", host="three") == 0


def test_broken_inventory_is_a_failed_sweep(exporter: Exporter, inventory: Path) -> None:
    inventory.write_text("[one\n")
    exporter.sweep_again("failed")
    exporter.command.wait_for_line("sweep failed: ")
    samples = exporter.samples()
    assert samples["host_ok", (("host", "two"),)] == 0
    last_sweep_s = samples["exporter_last_sweep_duration_seconds", ()]
    assert samples["exporter_result_age_seconds", ()] > last_sweep_s
    assert exporter.value("exporter_last_sweep_succeeded") == 0


def test_first_sweep_without_an_inventory_ends_with_2(tmp_path: Path) -> None:
    with exporting(options(tmp_path / "none")) as running:
        assert running.command.finish().status == 2


def test_sweep_is_skipped_while_another_run_holds_the_lock(exporter: Exporter, inventory: Path) -> None:
    before = exporter.value("exporter_last_sweep_timestamp_seconds")
    with run_lock(lock_directory(), str(inventory.resolve()), "all", "another"):
        exporter.sweep_again("skipped")
        assert exporter.value("exporter_last_sweep_timestamp_seconds") == before
    exporter.command.wait_for_line("sweep skipped: another run of 'all' is under way")
    exporter.sweep_again("failed")


def test_signal_ends_an_idle_exporter_at_once(tmp_path: Path) -> None:
    write_inventory(tmp_path / "inventory", "one")
    with exporting(options(tmp_path / "inventory")) as running:
        running.wait_for_sweep("failed")
        done, seconds = running.end()
    assert (done.status, done.out) == (0, b"")
    assert seconds < 2
    assert "Traceback" not in done.err


def test_signal_ends_a_slow_inventory_program(tmp_path: Path) -> None:
    program = tmp_path / "slow"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 60\n")
    program.chmod(0o755)
    with exporting(options(program)) as running:
        running.wait((tmp_path / "started").exists, "the program does not start")
        done, seconds = running.end()
    assert (done.status, seconds < 2) == (0, True)
