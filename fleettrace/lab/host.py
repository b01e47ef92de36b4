"""One host of a lab: its parts, and the ways to break it during a sweep."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fleettrace.errors import FleettraceError
from fleettrace.lab.docker import Container, DockerDaemon
from fleettrace.lab.memcached import Instance, original
from fleettrace.lab.namespaces import Network, enter
from fleettrace.lab.specs import Bpftrace, HostSpec, InstanceSpec, Reach
from fleettrace.lab.sshd import Account, create_account, listen_mute, make_key, sshd_command, stand_in, wait_for_banner
from fleettrace.lab.system import Process, kill_all, processes_in_netns, run

__all__ = ["Host"]


class Host:
    """One host. `Lab` creates it and calls `prepare` (files and users) and `start` (processes)."""

    def __init__(self, spec: HostSpec, index: int, network: Network, files: Path) -> None:
        self.spec = spec
        self.name = spec.name
        self.index = index
        self.network = network
        self.files = files
        self.namespace = network.namespace(spec.name)
        self.address = network.address(index)
        """IPv4; sshd listens on port 22."""
        self.directory = files / "hosts" / spec.name
        """Files that the host's users may read: binaries, authorized_keys."""
        self.private = files / "private" / spec.name
        self.public_key = ""
        self.account: Account | None = None
        self.stand_in: Path | None = None
        self.sshd: subprocess.Popen[bytes] | None = None
        self.instances = [
            Instance(one, spec.name, self.namespace, self.address, self.directory) for one in spec.instances
        ]
        self.docker: DockerDaemon | None = None
        if spec.containers:
            data = files / "docker" / spec.name
            self.docker = DockerDaemon(network.id, self.namespace, self.address, files / f"d{index}", data)

    def prepare(self, client_key: str) -> None:
        """Create the host's files and its user. Starts no process."""
        self.directory.mkdir(parents=True, mode=0o755)
        self.private.mkdir(mode=0o700)
        self.public_key = make_key(self.private / "host_key", self.name)
        self.account = create_account(self.spec, self.network.id, self.index, self.files, client_key)
        self.stand_in = stand_in(self.spec.bpftrace, self.directory)
        if self.spec.reach is not Reach.DOWN:
            for instance in self.instances:
                instance.prepare()

    def start(self) -> None:
        """Start sshd, the memcached instances and the containers, and wait until all of them answer."""
        if self.spec.reach is Reach.DOWN:
            return
        if self.docker is not None:
            self.docker.start()
            for spec in self.spec.containers:
                if spec.image not in self.docker.images:
                    self.docker.import_image(spec.image, original(InstanceSpec(variant=spec.variant)))
                self.docker.run(spec)
        if self.spec.reach in (Reach.UP, Reach.MUTE):
            self.start_sshd()
        for instance in self.instances:
            instance.start()

    def start_sshd(self) -> None:
        """Start the host's sshd, or its mute stand-in, and wait until it answers."""
        if self.account is None:
            raise FleettraceError(f"lab: {self.name} is not prepared: call `prepare` first")
        mute = self.spec.reach is Reach.MUTE
        if mute:
            command = listen_mute(self.namespace)
        else:
            environment = {**(self.docker.environment if self.docker else {}), **self.spec.environment}
            command = sshd_command(
                self.namespace,
                self.address,
                self.account,
                self.private,
                environment,
                hide=self.spec.bpftrace is Bpftrace.ABSENT,
            )
        with (self.private / "sshd.log").open("ab") as log:
            self.sshd = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_for_banner(self.address, self.name, mute=mute)

    def variables(self) -> dict[str, object]:
        """Return the host's inventory variables."""
        found: dict[str, object] = {"ansible_host": self.address}
        if self.account is not None:
            found.update(self.account.variables())
        if self.stand_in is not None:
            found["fleettrace_bpftrace"] = str(self.stand_in)
        return {**found, **self.spec.variables}

    @property
    def containers(self) -> dict[str, Container]:
        """Return the Docker containers by name."""
        return {} if self.docker is None else dict(self.docker.containers)

    @property
    def ports(self) -> list[int]:
        """Return the ports of the running memcached instances, those in containers included."""
        return [one.port for one in self.instances if one.process] + [one.port for one in self.containers.values()]

    @property
    def pids(self) -> dict[int, int]:
        """Return the pid of every running memcached by its port."""
        running = {one.port: one.pid for one in self.instances if one.process}
        return running | {one.port: one.pid for one in self.containers.values()}

    def instance(self, port: int = 11211) -> Instance:
        """Return the instance at a port. Raises `FleettraceError` when there is none."""
        for one in self.instances:
            if one.port == port:
                return one
        raise FleettraceError(f"lab: {self.name} has no instance at port {port}")

    def exec(
        self, command: Sequence[str], *, data: str | None = None, check: bool = True, seconds: float = 60.0
    ) -> str:
        """Run a command in the host's network namespace, without SSH, and return its output."""
        return run([*enter(self.namespace), *command], input=data, check=check, seconds=seconds)

    def processes(self, name: str | None = None) -> list[Process]:
        """Return the live processes in the host's network namespace; with `name`, those with that command (`comm`)."""
        found = processes_in_netns([Path("/run/netns", self.namespace).stat().st_ino])
        return found if name is None else [one for one in found if comm(one) == name]

    def cut_network(self) -> None:
        """Drop all packets to and from the host until `restore_network`."""
        self.network.set_link(self.index, up=False)

    def restore_network(self) -> None:
        self.network.set_link(self.index, up=True)

    def kill_sshd(self) -> None:
        """Kill the listening sshd and the sshds of its sessions, but not the programs in the sessions."""
        kill_all(lambda: self.processes("sshd"))
        if self.sshd is not None:
            self.sshd.wait(timeout=10)
            self.sshd = None

    def freeze(self) -> None:
        """Stop every process of the host (SIGSTOP). Its kernel still accepts TCP connections."""
        for one in self.processes():
            one.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for one in self.processes():
            one.signal(signal.SIGCONT)

    def collect(self) -> None:
        """Wait for the host's processes, which the lab's removal has killed."""
        launchers = [self.sshd, *(one.launcher for one in self.instances), self.docker and self.docker.launcher]
        for launcher in launchers:
            if launcher:
                launcher.wait(timeout=10)


def comm(one: Process) -> str:
    try:
        return Path(f"/proc/{one.pid}/comm").read_text().rstrip("\n")
    except OSError:
        return ""
