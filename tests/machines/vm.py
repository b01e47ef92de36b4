"""Boot a guest under QEMU, wait for lines on its serial console, and always end it.

QEMU emulates (TCG) without KVM, because CI machines rarely have nested virtualisation. At most `SLOTS` guests run on
this machine at a time, in all processes together.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from fleettrace.errors import FleettraceError
from tests.machines.debian import machines_cache
from tests.machines.kernels import Kernel

__all__ = ["Guest", "Machine", "boot"]

SLOTS = 2
_TAIL = 40
"""Lines of the console that a failure shows."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine to boot: a kernel with an initramfs, and images as /dev/vda, /dev/vdb and so on."""

    kernel: Kernel
    initramfs: bytes = field(repr=False)
    images: Sequence[Path] = ()
    cpus: int = 1
    memory: int = 1024
    command_line: str = ""
    ports: Sequence[int] = ()
    """Ports of the guest to forward from ports of 127.0.0.1."""
    clock: str = "utc"
    """QEMU's `-rtc base=`."""
    network: bool = False


@dataclass(slots=True)
class Guest:
    """A running guest. `ports` maps a port of the guest to the one of 127.0.0.1."""

    process: subprocess.Popen[bytes]
    console_file: Path
    ports: dict[int, int]

    def console(self) -> str:
        """Return everything that the guest has printed."""
        return self.console_file.read_text(errors="replace") if self.console_file.exists() else ""

    def tail(self) -> str:
        """Return the last lines of the console."""
        return "\n".join(self.console().replace("\r", "").splitlines()[-_TAIL:])

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait until a line of the console matches. Raises `FleettraceError`, with the console's end, if none does."""
        compiled, deadline = re.compile(pattern, re.MULTILINE), time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            if found := compiled.search(self.console().replace("\r", "")):
                return found
            if ended or time.monotonic() > deadline:
                what = f"ended ({self.process.returncode})" if ended else f"did not within {seconds:.0f} s"
                raise FleettraceError(f"guest: no line {pattern!r}: it {what}. Its console:\n{self.tail()}")
            time.sleep(0.2)


@contextmanager
def boot(machine: Machine) -> Iterator[Guest]:
    """Wait for a free slot, start a guest and yield it. Leaving the block kills the guest."""
    with ExitStack() as stack:
        stack.enter_context(_slot())
        directory = Path(mkdtemp(prefix="fleettrace-guest-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        (directory / "initramfs").write_bytes(machine.initramfs)
        ports = {port: _free_port() for port in machine.ports}
        process = subprocess.Popen(
            _command(machine, directory, ports),
            stdin=subprocess.DEVNULL,
            stdout=(directory / "qemu").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stack.callback(_end, process)
        guest = Guest(process, directory / "console", ports)
        yield guest


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _command(machine: Machine, directory: Path, ports: dict[int, int]) -> list[str]:
    x86 = machine.kernel.arch == "amd64"
    # cortex-a72 and `max` behave alike. The default cipher of `max` for pointer authentication is slow to emulate.
    kind = (
        ["qemu-system-x86_64", "-cpu", "max"]
        if x86
        else ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"]
    )
    words = f"console={'ttyS0' if x86 else 'ttyAMA0'} quiet loglevel=4 panic=1 net.ifnames=0 mitigations=off"
    command = [
        # The kernel kills QEMU when the process that started it ends, even by SIGKILL.
        *("setpriv", "--pdeathsig", "KILL", "nice", *kind),
        *("-accel", "tcg,thread=multi", "-smp", str(machine.cpus), "-m", str(machine.memory)),
        *(
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            f"file:{directory / 'console'}",
        ),
        *("-kernel", str(machine.kernel.image), "-initrd", str(directory / "initramfs")),
        *("-append", f"{words} {machine.command_line}".strip()),
        *("-rtc", f"base={machine.clock}", "-device", "virtio-rng-pci"),
    ]
    for number, image in enumerate(machine.images):
        # `snapshot`: writes go to a temporary file, so guests can share an image.
        drive = f"file={image},format=raw,if=none,id=d{number},snapshot=on,file.locking=off"
        command += ["-drive", drive, "-device", f"virtio-blk-pci,drive=d{number}"]
    if machine.ports or machine.network:
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in ports.items())
        command += ["-netdev", f"user,id=n{forwards}", "-device", "virtio-net-pci,netdev=n,romfile="]
    return command


@contextmanager
def _slot() -> Iterator[None]:
    directory = machines_cache()
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        handles = [stack.enter_context((directory / f"slot-{number}.lock").open("a")) for number in range(SLOTS)]
        while not any(_locked(handle.fileno()) for handle in handles):
            time.sleep(0.5)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
