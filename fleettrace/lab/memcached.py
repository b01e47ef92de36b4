"""Real memcached processes on a lab's hosts, in every shape of `specs.Shape`.

Every host runs its own copy of the binary: uprobes attach to an inode, so hosts that shared one file would fire each
other's probes, which real hosts never do.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from fleettrace.errors import FleettraceError
from fleettrace.lab.build import memcached_binary
from fleettrace.lab.namespaces import enter
from fleettrace.lab.packages import find_program
from fleettrace.lab.specs import InstanceSpec, Shape
from fleettrace.lab.system import Process, children_of, process, wait_until

__all__ = ["DEBIAN", "OPTIONS", "Instance", "original", "read_stats"]

DEBIAN = Path("/usr/bin/memcached")
OPTIONS = ("-u", "nobody", "-m", "64", "-c", "1024", "-t", "2", "-l", "0.0.0.0")
WRAPPER = """\
#!/bin/sh
{binary} "$@" &
wait
"""


def original(spec: InstanceSpec) -> Path:
    """Return the binary that an instance runs a copy of, building it on first use. Raises `FleettraceError`."""
    if spec.binary is not None:
        return spec.binary
    return DEBIAN if spec.variant == "debian" else memcached_binary(spec.variant)


def read_stats(address: str, port: int, *arguments: str) -> dict[str, str]:
    """Return the counters of memcached's `stats` command, by name (`cmd_get`, `cmd_set`, ...)."""
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.sendall(" ".join(("stats", *arguments)).encode() + b"\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            got = connection.recv(65536)
            if not got:
                raise FleettraceError(f"lab: memcached at {address}:{port} closed the connection")
            text += got
    return dict(line.split(" ", 2)[1:] for line in text.decode().splitlines() if line.startswith("STAT "))


@dataclass(slots=True)
class Instance:
    """One memcached instance of one host, which can be stopped and started again."""

    spec: InstanceSpec
    host: str
    namespace: str
    address: str
    directory: Path
    """The host's directory for copies of the binary."""
    binary: Path = field(init=False)
    """The copy that it runs; with `Shape.CONTAINER`, its path outside the container."""
    process: Process | None = field(default=None, init=False)
    """memcached itself, not a wrapper, with its pid in the machine's pid namespace."""
    launcher: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        name = "kvstore" if self.spec.shape is Shape.RENAMED else "memcached"
        custom = self.spec.binary
        source = self.spec.variant if custom is None else f"custom-{sha256(bytes(custom)).hexdigest()[:8]}"
        self.binary = self.directory / f"{self.spec.shape}-{source}-{self.spec.copy}" / name

    @property
    def port(self) -> int:
        return self.spec.port

    @property
    def pid(self) -> int:
        """Return the pid of the running memcached. Raises `FleettraceError` when it does not run."""
        if self.process is None:
            raise FleettraceError(f"lab: no memcached runs on {self.host}:{self.port}")
        return self.process.pid

    @property
    def wrapper(self) -> Path:
        return self.binary.parent / "wrapper/memcached"

    def prepare(self) -> None:
        """Copy the binary.

        The lab prepares all instances before it starts any process: a file that another process holds open for writing,
        if only between fork and exec, cannot be executed (ETXTBSY).
        """
        if not self.binary.exists():
            self.binary.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(original(self.spec), self.binary)
        if self.spec.shape is Shape.WRAPPER:
            self.wrapper.parent.mkdir(exist_ok=True)
            self.wrapper.write_text(WRAPPER.format(binary=shlex.quote(str(self.binary))))
            self.wrapper.chmod(0o755)

    def start(self) -> None:
        """Start memcached and wait until it answers. Raises `FleettraceError`, with memcached's output, otherwise."""
        inode = self.binary.stat().st_ino
        log = self.directory / f"memcached-{self.port}.log"
        with log.open("wb") as output:
            self.launcher = subprocess.Popen(
                [*enter(self.namespace), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.process = wait_until(
                lambda: self.answers(inode), f"memcached on {self.host}:{self.port} does not start"
            )
        except FleettraceError as error:
            printed = log.read_text(errors="replace").strip().replace("\n", " / ")
            raise FleettraceError(f"{error}: {printed}" if printed else str(error)) from error
        if self.spec.shape is Shape.DELETED:
            self.replace_binary()

    def command(self) -> list[str]:
        """Return the command to run in the host's network namespace."""
        options = ["-p", str(self.port), *OPTIONS, *self.spec.options]
        if self.spec.shape is Shape.WRAPPER:
            return [str(self.wrapper), *options]
        if self.spec.shape is Shape.CONTAINER:
            unshare = find_program("unshare") or "unshare"
            private = [unshare, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
            script_text = 'mount --bind "$1" /usr/local/bin && shift && exec /usr/local/bin/memcached "$@"'
            return [*private, "sh", "-c", script_text, "sh", str(self.binary.parent), *options]
        return [str(self.binary), *options]

    def answers(self, inode: int) -> Process | None:
        """Return the memcached among the launcher's descendants, or None until it serves its port."""
        if self.launcher is None or self.launcher.poll() is not None:
            raise FleettraceError(f"lab: memcached on {self.host}:{self.port} ended at once")
        waiting = [self.launcher.pid]
        while waiting:
            pid = waiting.pop()
            waiting += children_of(pid)
            try:
                ours = Path(f"/proc/{pid}/exe").stat().st_ino == inode
                if ours and read_stats(self.address, self.port)["pid"]:
                    return process(pid)
            except OSError:
                continue
        return None

    def replace_binary(self) -> None:
        """Replace the binary on disk, as an upgrade does. The running process then executes a deleted file."""
        fresh = self.binary.with_name(f"{self.binary.name}.new")
        shutil.copy2(original(self.spec), fresh)
        fresh.replace(self.binary)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End memcached with a signal and wait for it. Has no effect when it does not run."""
        if self.process is not None:
            self.process.signal(number)
            ended = self.process
            wait_until(lambda: not ended.alive, f"memcached on {self.host}:{self.port} does not end")
            self.process = None
        if self.launcher is not None:
            self.launcher.wait(timeout=10)
            self.launcher = None

    def stats(self, *arguments: str) -> dict[str, str]:
        """Return the current counters of memcached's `stats` command, by name."""
        return read_stats(self.address, self.port, *arguments)
