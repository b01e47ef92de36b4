"""A memcached that the dynamic loader runs is never a successful empty host."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.system import wait_until
from fleettrace.node.discovery import discovery_script, parse_discovery
from tests.e2e.command import Command
from tests.e2e.local import ADDRESS, answers, free_port, served
from tests.node.ran import ran

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the loader has another name there"),
]
LOADER = "/lib64/ld-linux-x86-64.so.2"


@pytest.fixture
def port() -> Iterator[int]:
    """The port of such a memcached."""
    number = free_port()
    words = [LOADER, str(memcached_binary()), "-u", "root", "-l", ADDRESS, "-p", str(number)]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(number), "memcached does not start")
        yield number
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "ash"]], ids=lambda words: words[-1])
def test_every_shell_finds_the_loader_and_the_port(shell: list[str], port: int) -> None:
    facts = parse_discovery(ran(shell, discovery_script(["echo", "bpftrace v0.17.0"], "host")).stdout).facts
    assert port in facts.listening
    assert any(Path(f"/proc/{pid}/exe").readlink().name.startswith("ld") for pid in facts.loaded)


def verdict(directory: Path, variables: str, *more: str) -> tuple[str, str | None, int]:
    inventory = directory / "loader.yaml"
    inventory.write_text(f"all: {{hosts: {{here: {{ansible_connection: local{variables}}}}}}}\n")
    with Command(["run", "-i", str(inventory), "--duration", "1s", "--output", "json", *more]) as command:
        done = command.finish()
    host = done.host("here")
    return host["state"], host["error"] and host["error"]["code"], done.status


def test_selected_port_without_memcached_is_an_error(port: int, tmp_path: Path) -> None:
    assert verdict(tmp_path, f", fleettrace_instances: [{port}]") == ("unsupported", "port-without-memcached", 4)


@pytest.mark.parametrize("more", [(), ("--detach",)], ids=["attached", "detached"])
def test_port_without_memcached_beside_instance_is_partial(more: tuple[str, ...], port: int, tmp_path: Path) -> None:
    with served(tmp_path, memcached_binary()) as other:
        selected = f", fleettrace_instances: [{port}, {other.port}]"
        assert verdict(tmp_path, selected, *more) == ("partial", "port-without-memcached", 3)


def test_selected_port_without_listener_is_no_error(tmp_path: Path) -> None:
    assert verdict(tmp_path, f", fleettrace_instances: [{free_port()}]") == ("no-instances", None, 4)
