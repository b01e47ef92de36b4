"""Real Docker containers on a lab's host: a private daemon, an imported image, containers in the host's network.

The daemon runs in the host's network namespace, so that `--network=host` means that host, and in its own mount
namespace, so that its mounts disappear with it. It shares nothing with the machine's own daemon: socket, data,
configuration and control groups are the lab's. No registry is needed: the lab packs the image and imports it.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.errors import FleettraceError
from fleettrace.lab.memcached import OPTIONS, read_stats
from fleettrace.lab.namespaces import enter
from fleettrace.lab.packages import DOCKER, find_program, require
from fleettrace.lab.specs import ContainerSpec
from fleettrace.lab.system import Process, process, run, wait_until

__all__ = ["Container", "DockerDaemon"]

CLIENT = "/usr/bin/docker"  # Debian's, by its path: another `docker` may come first on PATH
MEMCACHED = "usr/local/bin/memcached"
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Container:
    """A running container with one memcached."""

    spec: ContainerSpec
    id: str
    """64 hexadecimal digits."""
    process: Process
    address: str

    @property
    def pid(self) -> int:
        """Return memcached's pid in the machine's pid namespace."""
        return self.process.pid

    @property
    def port(self) -> int:
        return self.spec.port

    def stats(self, *arguments: str) -> dict[str, str]:
        """Return the current counters of memcached's `stats` command, by name."""
        return read_stats(self.address, self.port, *arguments)


def image_of(binary: Path, name: str) -> bytes:
    """Return a root file system as a tar archive: memcached, its libraries, and a user for it.

    The archive contains the image's name: images of equal content would share one layer, and so one inode.
    """
    libraries = re.findall(r"(/\S+) \(0x", run(["ldd", binary]))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        archive.add(binary, MEMCACHED)
        for library in libraries:
            archive.add(library, library.lstrip("/"))
        for path, text in {
            "etc/passwd": "root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n",
            "etc/group": "nogroup:x:65534:\n",
            "etc/image": f"{name}\n",
        }.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass(slots=True)
class DockerDaemon:
    """A private dockerd. Removing the lab kills it unless `stop` has ended it."""

    lab: str
    namespace: str
    address: str
    sockets: Path
    """A directory for sockets, outside /run. Its path is short: a socket's path has at most 107 bytes."""
    data: Path
    launcher: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    containers: dict[str, Container] = field(default_factory=dict, init=False)
    images: set[str] = field(default_factory=set, init=False)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that make a `docker` client use this daemon."""
        return {"DOCKER_HOST": f"unix://{self.sockets}/docker.sock", "DOCKER_CONFIG": str(self.data / "client")}

    def start(self) -> None:
        """Start the daemon and wait until it answers (some seconds). Raises `FleettraceError`."""
        require(DOCKER, "the lab's containers")
        self.sockets.mkdir(parents=True, exist_ok=True)
        (self.data / "client").mkdir(parents=True, exist_ok=True)
        config = self.data / "daemon.json"
        key = self.data / "key.json"
        config.write_text(json.dumps({"deprecated-key-path": str(key)}))
        log = (self.data / "dockerd.log").open("wb")
        # containerd's shims create their sockets in /run/containerd, which no option changes: mount a private /run.
        script = 'mount -t tmpfs lab /run && exec "$@"'
        with log:
            self.launcher = subprocess.Popen(
                [
                    *enter(self.namespace),
                    *(find_program("unshare") or "unshare", "--mount", "--", "sh", "-c", script, "sh"),
                    find_program("dockerd") or "dockerd",
                    f"--host=unix://{self.sockets}/docker.sock",
                    f"--exec-root={self.sockets}/exec",
                    f"--pidfile={self.sockets}/docker.pid",
                    f"--data-root={self.data}/root",
                    f"--config-file={config}",
                    f"--cgroup-parent=/{self.lab}",
                    "--bridge=none",
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-forward=false",
                    "--ip-masq=false",
                    "--userland-proxy=false",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._ready, f"dockerd does not get ready (see {log.name})", seconds=READY_SECONDS, pause=0.1)

    def _ready(self) -> bool:
        if self.launcher is not None and self.launcher.poll() is not None:
            lines = (self.data / "dockerd.log").read_text(errors="replace").strip().splitlines()
            raise FleettraceError(f"lab: dockerd ended at once: {lines[-1] if lines else 'no output'}")
        try:
            self.client("version", "--format", "{{.Server.Version}}")
        except FleettraceError:
            return False
        return True

    def client(self, *arguments: str, data: bytes | None = None) -> str:
        """Run the docker client with `data` on its standard input and return its output. Raises `FleettraceError`."""
        done = subprocess.run(
            [CLIENT, *arguments],
            input=data if data is not None else b"",
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, **self.environment},
        )
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise FleettraceError(f"lab: docker {arguments[0]} failed: {' / '.join(lines[-2:])}")
        return done.stdout.decode().strip()

    def import_image(self, name: str, binary: Path) -> None:
        """Create the image `name` with this memcached at /usr/local/bin/memcached."""
        self.client("import", "-", name, data=image_of(binary, name))
        self.images.add(name)

    def run(self, spec: ContainerSpec) -> Container:
        """Start a container of an imported image and wait until its memcached answers."""
        command = [f"/{MEMCACHED}", "-p", str(spec.port), *OPTIONS]
        flags = ["--detach", "--network=host", f"--name={spec.name}", "--restart=no"]
        identity = self.client("run", *flags, spec.image, *command)
        wait_until(
            lambda: self._serves(spec.port), f"the container {spec.name} does not answer at {self.address}:{spec.port}"
        )
        one = process(int(self.client("inspect", "--format", "{{.State.Pid}}", identity)))
        if one is None:
            raise FleettraceError(f"lab: the container {spec.name} ended at once")
        self.containers[spec.name] = Container(spec, identity, one, self.address)
        return self.containers[spec.name]

    def _serves(self, port: int) -> bool:
        try:
            return bool(read_stats(self.address, port)["pid"])
        except OSError:
            return False

    def stop(self) -> None:
        """Remove the containers and end the daemon. Idempotent."""
        if self.launcher is None:
            return
        if self.launcher.poll() is None:
            if self.containers:
                self.client("rm", "--force", *self.containers)
            self.launcher.terminate()
            try:
                self.launcher.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.launcher.kill()
        self.launcher.wait()
        self.launcher = None
        self.containers.clear()
