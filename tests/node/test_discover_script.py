"""The discovery gives the same result under every shell, and recognizes memcached by its binary."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.host import Host
from fleettrace.lab.namespaces import enter
from fleettrace.lab.packages import find_program
from fleettrace.lab.specs import HostSpec, InstanceSpec, Shape
from fleettrace.lab.system import wait_until
from fleettrace.node.discovery import discovery_script, parse_discovery
from fleettrace.node.model import Discovery
from tests.node.ran import ran

pytestmark = pytest.mark.lab

HOSTILE_DIRECTORY = "a b\n$(id);'\"\\\u00ff"
INSTANCES = (
    InstanceSpec(11211),
    InstanceSpec(11212, Shape.RENAMED),
    InstanceSpec(11213, Shape.DELETED),
    InstanceSpec(11214, Shape.CONTAINER),
    InstanceSpec(11215, Shape.WRAPPER),
    InstanceSpec(11216, variant="debian"),
)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Lab([HostSpec("shapes", INSTANCES), HostSpec("other")]) as lab:
        yield lab.hosts["shapes"]


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which every program is busybox. Skips where busybox is not installed."""
    program = find_program("busybox")
    if program is None:
        pytest.skip("busybox is not installed: apt-get install -y --no-install-recommends busybox-static")
    directory = tmp_path_factory.mktemp("busybox")
    subprocess.run([program, "--install", "-s", directory], check=True)
    return directory


def discovery(
    host: Host, shell: list[str], *, scope: str = "netns", path: str | None = None, bpftrace: str = "bpftrace"
) -> Discovery:
    done = ran(
        [*enter(host.namespace), *shell],
        discovery_script([bpftrace], scope),
        {"PATH": path or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    assert done.stderr == b""
    return parse_discovery(done.stdout)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_every_shell_sees_the_same(host: Host, busybox: Path, shell: str) -> None:
    real = find_program("bpftrace")
    assert real is not None
    expected = discovery(host, ["/bin/sh"], bpftrace=real)
    if shell == "busybox":
        seen = discovery(host, [str(busybox / "sh")], path=str(busybox), bpftrace=real)
    else:
        seen = discovery(host, [find_program(shell) or shell], bpftrace=real)
    assert len(seen.instances) == len(INSTANCES)
    assert replace(seen, facts=expected.facts) == expected
    assert seen.facts == expected.facts


def test_every_shape_is_found_once(host: Host) -> None:
    by_port = {instance.ports: instance for instance in discovery(host, ["/bin/sh"]).instances}
    assert {ports: instance.pid for ports, instance in by_port.items()} == {
        (port,): pid for port, pid in host.pids.items()
    }
    assert by_port[(11212,)].exe.endswith(b"/kvstore")
    assert by_port[(11213,)].exe.endswith(b"/memcached (deleted)")
    assert by_port[(11214,)].exe == b"/usr/local/bin/memcached"
    assert by_port[(11216,)].exe.endswith(b"/memcached")
    assert {instance.user for instance in by_port.values()} == {"nobody"}


def test_scope_netns_excludes_other_namespaces(host: Host) -> None:
    here = {instance.pid for instance in discovery(host, ["/bin/sh"]).instances}
    everywhere = {instance.pid for instance in discovery(host, ["/bin/sh"], scope="host").instances}
    assert here < everywhere


def test_the_identity_of_a_binary_is_its_inode(host: Host) -> None:
    for instance in discovery(host, ["/bin/sh"]).instances:
        status = Path(f"/proc/{instance.pid}/exe").stat()
        assert instance.binary.inode == f"{status.st_dev}:{status.st_ino}"
        assert instance.binary.size == status.st_size
        assert instance.binary.sha256 == sha256(Path(f"/proc/{instance.pid}/exe").read_bytes()).hexdigest()


@pytest.mark.parametrize("tool", ["sha256sum", "openssl", "perl", "none"])
def test_any_tool_hashes_a_binary(host: Host, tmp_path: Path, tool: str) -> None:
    """Without any it is left to the controller."""
    tools = ("sh", "stat", "awk", "grep", "readlink", "cat", "ls", "tr", "head", "od", "uname", "timeout", "unshare")
    for name in (*tools, tool):
        if found := find_program(name):
            (tmp_path / name).symlink_to(found)
    if tool not in ("none", *(each.name for each in tmp_path.iterdir())):
        pytest.skip(f"{tool} is not installed")
    for instance in discovery(host, ["/bin/sh"], path=str(tmp_path)).instances:
        content = Path(f"/proc/{instance.pid}/exe").read_bytes()
        assert instance.binary.sha256 == (None if tool == "none" else sha256(content).hexdigest())


def test_a_path_of_any_bytes_survives(host: Host) -> None:
    directory = host.directory / HOSTILE_DIRECTORY
    directory.mkdir()
    program = directory / "mem\ncached\n"
    program.write_bytes(host.instance(11211).binary.read_bytes())
    program.chmod(0o755)
    command = [*enter(host.namespace), str(program), "-p", "11299", "-u", "nobody", "-l", "127.0.0.1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as odd:
        try:
            wait_for_port(host, 11299)
            [found] = [one for one in discovery(host, ["/bin/sh"]).instances if one.ports == (11299,)]
            assert found.exe == bytes(program)
        finally:
            odd.kill()


def wait_for_port(host: Host, port: int) -> None:
    wait_until(lambda: f":{port} " in host.exec(["ss", "-ltn"]), f"nothing listens on {port}")


def test_discovery_reports_missing_bpftrace(host: Host) -> None:
    facts = discovery(host, ["/bin/sh"], bpftrace="/no/such/bpftrace").facts
    assert facts.bpftrace is None
    assert "not found" in facts.bpftrace_output or "No such file" in facts.bpftrace_output


def test_the_nodes_facts_are_what_they_are(host: Host) -> None:
    facts = discovery(host, ["/bin/sh"]).facts
    assert facts.uid == 0
    assert facts.kernel == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert facts.possible_cpus >= (os.cpu_count() or 1)
    assert facts.bpftrace is not None
