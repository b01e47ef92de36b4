"""A guest as a node of a fleet: the sshd, memcached and bpftrace of a Debian release on any kernel, swept by the real
command."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fleettrace.errors import FleettraceError
from fleettrace.lab.load import Client
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.system import run
from fleettrace.lab.truth import TracedInstance, Truth
from fleettrace.sweep.events import Phase
from tests.e2e.command import Command, Done
from tests.machines import initramfs
from tests.machines.images import stock, unpacked
from tests.machines.kernels import kernel
from tests.machines.vm import Guest, Machine, boot

__all__ = ["HOST", "PORTS", "Node", "NodeSpec", "node"]

PORTS = (11211, 11212)
"""The ports of a node's memcached instances."""
HOST = "node"
"""A node's name in the inventory."""
_USER = "user0"
_GUEST = Path(__file__).with_name("guest")
_BOOT_S, _TRACE_S = 900.0, 300.0
_ADDRESS = "127.0.0.1"
_MODULES = ("overlay", "veth", "bridge", "br_netfilter")
"""Modules for the guest's modprobe: dockerd loads them."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """The properties of a node.

    With `busybox` it has no other userland, dropbear as its SSH server, and root as its login user. With `docker` it
    runs each memcached in a container.
    """

    kernel: str
    suite: str
    arch: str = "amd64"
    cpus: int = 1
    memory: int = 1024
    words: str = ""
    """Added to the kernel's command line."""
    options: tuple[str, ...] = ()
    """Settings for guest/vm-init, such as `HIDEPID=2`."""
    shell: str = "/bin/bash"
    """The login shell."""
    more: tuple[str, ...] = ()
    """Additional Debian packages."""
    systemd: bool = False
    busybox: bool = False
    docker: bool = False
    ports: tuple[int, ...] = PORTS


@dataclass(frozen=True, slots=True)
class Node:
    """A running node. Its inventory name is `HOST`."""

    spec: NodeSpec
    guest: Guest
    directory: Path

    @property
    def release(self) -> str:
        """Return the node's `uname -r`."""
        return self.guest.wait_for(r"VM-READY \S+ (\S+)$", 1)[1]

    @property
    def bpftrace(self) -> str:
        """Return the version of the node's bpftrace."""
        return self.guest.wait_for(r"VM-VERSION bpftrace v?(\S+)$", 1)[1]

    def command(self, verb: str, *options: str) -> list[str]:
        """Return the arguments of a command on this node."""
        return [
            verb,
            "-i",
            str(self.directory / "inventory.json"),
            "--ssh-config",
            str(self.directory / "ssh"),
            *options,
        ]

    def start(self, command: str) -> None:
        """Start a shell command on the node in the background."""
        words: list[str | Path] = [
            "ssh",
            "-F",
            self.directory / "ssh",
            "-i",
            self.directory / "client",
            "-p",
            str(self.guest.ports[22]),
        ]
        run([*words, f"{_USER}@{_ADDRESS}", f"({command}) >/dev/null 2>&1 </dev/null &"], seconds=120)

    def check(self) -> str:
        """Return what `fleettrace check -v` prints."""
        with Command(self.command("check", "-v", "--connect-timeout", "120s")) as command:
            done = command.finish(seconds=_TRACE_S)
        return f"{done.out.decode(errors='replace')}\n{done.err}"

    def sweep(self, plans: Mapping[int, Sequence[Request]], *options: str, seconds: int = 60) -> tuple[Done, Truth]:
        """Sweep under traffic on each instance. Return the command's end, with a JSON report, and the truth.

        Raises `AssertionError` when the traffic outlasted the window.
        """
        arguments = ["--duration", f"{seconds}s", "--top", "100000", "--output", "json", "-v", "--no-store"]
        arguments += ["--allow-preemptible", "--connect-timeout", "120s", "--deadline", f"{seconds + int(_TRACE_S)}s"]
        with Command(self.command("run", *arguments, *options)) as command:
            command.wait_for_phase(Phase.TRACE, HOST, seconds=_TRACE_S)
            truth = self.send(plans)
            time.sleep(0.5)
            assert not command.has_finished(HOST), "the traffic outlasted the window"
            return command.finish(seconds=seconds + _TRACE_S), truth

    def send(self, plans: Mapping[int, Sequence[Request]]) -> Truth:
        """Carry out the requests of each instance and return the truth."""
        truth = Truth()
        for port, requests in plans.items():
            # The truth has the guest's port; the connection uses the forwarded one.
            with Client(TracedInstance("node", self.guest.ports[port]), _ADDRESS, timeout=120) as client:
                client.send(requests)
                for instance, counts in client.truth.counts.items():
                    truth.update(Truth({TracedInstance(instance.host, port): counts}))
        return truth


@contextmanager
def node(spec: NodeSpec) -> Iterator[Node]:
    """Boot a node, wait until it is ready, and yield it. A failure in the block gets the end of the guest's console."""
    with TemporaryDirectory(prefix="fleettrace-node-") as name:
        directory = Path(name)
        for key in ("client", "host"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key])
        booted = kernel(spec.kernel, spec.arch)
        machine = Machine(
            booted,
            initramfs.base(booted, _MODULES) + initramfs.archive(_files(spec, directory)),
            _images(spec),
            cpus=spec.cpus,
            memory=spec.memory,
            command_line=f"{spec.words} ft.init={'/sbin/init' if spec.systemd else '/machine/init'}",
            ports=(22, *spec.ports),
        )
        with boot(machine) as guest:
            try:
                guest.wait_for(r"^.*VM-READY \S+ (\S+)$", _BOOT_S)
                _write_inventory(spec, guest, directory)
                yield Node(spec, guest, directory)
            except (AssertionError, FleettraceError) as error:
                error.add_note(f"the guest's console:\n{guest.tail()}")
                raise


def _images(spec: NodeSpec) -> list[Path]:
    if spec.busybox:
        return [unpacked(spec.suite, spec.arch, ("bpftrace", "memcached", "dropbear-bin", "busybox-static"))]
    images = [stock(spec.suite, spec.arch, spec.more)]
    return [*images, unpacked(spec.suite, spec.arch, ("memcached", "busybox-static"))] if spec.docker else images


def _files(spec: NodeSpec, directory: Path) -> dict[str, initramfs.File]:
    machine = "overlay/machine"
    options = [*spec.options, *(["BUSYBOX=1"] if spec.busybox else []), *(["DOCKER=1"] if spec.docker else [])]
    files: dict[str, initramfs.File] = {
        "stage": (_GUEST / "node.sh").read_text(),
        f"{machine}/init": (_GUEST / "vm-init").read_text(),
        f"{machine}/options": "".join(f"{option}\n" for option in options),
        f"{machine}/users": f"{_USER} {spec.shell}\n",
        f"{machine}/authorized_keys": (directory / "client.pub").read_text(),
        f"{machine}/host_key": (directory / "host").read_text(),
    }
    for name in ("setup.sh", "docker.sh", "ready.sh"):
        files[f"{machine}/{name}"] = (_GUEST / name).read_text()
    if spec.systemd:
        for path in (_GUEST / "systemd").iterdir():
            kind = "network" if path.suffix == ".network" else "system"
            files[f"overlay/etc/systemd/{kind}/{path.name}"] = path.read_text()
    return files


def _write_inventory(spec: NodeSpec, guest: Guest, directory: Path) -> None:
    port = guest.ports[22]
    variables: dict[str, Any] = {
        "ansible_host": _ADDRESS,
        "ansible_port": port,
        "ansible_user": "root" if spec.busybox else _USER,
        "ansible_become": not spec.busybox,
        "ansible_ssh_private_key_file": str(directory / "client"),
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": {HOST: variables}}}))
    kind, key, *_ = (directory / "host.pub").read_text().split()
    (directory / "known_hosts").write_text(f"[{_ADDRESS}]:{port} {kind} {key}\n")
    (directory / "ssh").write_text(f"Host *\n  UserKnownHostsFile {directory / 'known_hosts'}\n")
