"""The lab: a fleet of real hosts on one machine, set up in parallel and removed completely.

    with Lab([HostSpec("cache-001"), HostSpec("cache-002", two())]) as lab:
        truth = lab.send({TracedInstance("cache-001", 11211): plan(WEB, seed=1, commands=1000)})
        ...  # lab.inventory, lab.known_hosts, lab.client_key

Leaving the block removes everything, also after Ctrl-C or SIGTERM. If SIGKILL ends this process, its reaper removes the
lab within a second; if that is killed as well, the next set-up does.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType

import yaml

from fleettrace.errors import FleettraceError
from fleettrace.lab.host import Host
from fleettrace.lab.load import BackgroundLoad, Flow, Order, send
from fleettrace.lab.memcached import original
from fleettrace.lab.namespaces import Network
from fleettrace.lab.packages import FLEET, SUDO, require
from fleettrace.lab.protocol import Command
from fleettrace.lab.specs import HostKeyKind, HostSpec, Login, Reach
from fleettrace.lab.sshd import make_key
from fleettrace.lab.state import Claim, claim, remove
from fleettrace.lab.truth import TracedInstance, Truth

__all__ = ["Lab"]

THREADS = 8


class Lab:
    """A fleet on this machine, as a context manager. It needs root and the packages in `packages.FLEET`."""

    def __init__(self, hosts: Sequence[HostSpec]) -> None:
        names = [spec.name for spec in hosts]
        if len(set(names)) != len(names):
            raise FleettraceError("lab: two hosts have the same name")
        self.specs = list(hosts)
        self.hosts: dict[str, Host] = {}
        """The hosts by inventory name, in the order of the specs."""
        self._claim: Claim | None = None
        self._reaper: subprocess.Popen[bytes] | None = None
        self._loads: list[BackgroundLoad] = []

    @property
    def id(self) -> str:
        """Return the lab's id: the prefix of every name that the lab creates on the machine."""
        return self._mine.id

    @property
    def _mine(self) -> Claim:
        if self._claim is None:
            raise FleettraceError("lab: not set up")
        return self._claim

    @property
    def private(self) -> Path:
        """Return the lab's private directory (mode 0700), which is removed with the lab."""
        return self._mine.files / "private"

    @property
    def inventory(self) -> Path:
        """Return the path of the inventory, in Ansible's YAML layout."""
        return self.private / "inventory.yaml"

    @property
    def known_hosts(self) -> Path:
        return self.private / "known_hosts"

    @property
    def client_key(self) -> Path:
        return self.private / "client_key"

    @property
    def ssh_config(self) -> Path:
        """Return the path of an OpenSSH configuration with the key and the known_hosts file for the lab's addresses."""
        return self.private / "ssh_config"

    def __enter__(self) -> Lab:
        self.set_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tear_down()

    def set_up(self) -> None:
        """Create the fleet. Raises `FleettraceError`, after removing everything again, when a part fails."""
        self._check_packages()
        try:
            self._claim = claim()
            self._guard()
            self._make_files()
            self._network().create([None if spec.reach is Reach.DOWN else spec.name for spec in self.specs])
            with ThreadPoolExecutor(max_workers=THREADS) as pool:
                for done in [pool.submit(host.start) for host in self.hosts.values()]:
                    done.result()
            self._write_inventory()
        except BaseException:
            self.tear_down()
            raise

    def tear_down(self) -> None:
        """Remove the fleet. Idempotent. SIGINT and SIGTERM are ignored until it is done."""
        if self._claim is None:
            return
        in_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if in_main else ()
        old = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            for load in self._loads:
                load.kill()
            remove(self._claim.id)
            for host in self.hosts.values():
                host.collect()
            if self._reaper is not None and self._reaper.stdin is not None:
                self._reaper.stdin.close()
                self._reaper.wait(timeout=10)
            self._claim = None
        finally:
            for number, handler in old.items():
                signal.signal(number, signal.SIG_DFL if handler is leave else handler)

    def send(self, plans: Mapping[TracedInstance, Sequence[Command]]) -> Truth:
        """Send each instance the commands of its plan, and return after every answer has arrived."""
        return send(plans, {name: host.address for name, host in self.hosts.items()})

    def start_load(self, flows: Sequence[Flow], seconds: float, *, seed: int = 1) -> BackgroundLoad:
        """Start traffic in the background for `seconds`, or until the lab ends."""
        load = BackgroundLoad(Order(flows, seconds, seed), self.private / f"truth-{len(self._loads)}.json")
        self._loads.append(load)
        self._mine.note_process(load.process.pid)
        return load

    def instances(self, *hosts: str) -> list[TracedInstance]:
        """Return the running instances of these hosts (of all without any), containers included."""
        return [TracedInstance(name, port) for name in hosts or self.hosts for port in self.hosts[name].ports]

    def _check_packages(self) -> None:
        require(FLEET, "the lab")
        if any(spec.login is not Login.ROOT for spec in self.specs):
            require(SUDO, "a lab host that needs sudo")
        for spec in self.specs:
            for instance in spec.instances:
                original(instance)

    def _network(self) -> Network:
        return Network(self._mine.id, self._mine.subnet)

    def _guard(self) -> None:
        """Make SIGTERM unwind the stack, and start a reaper for the case of SIGKILL."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, leave)
        self._reaper = subprocess.Popen(
            [sys.executable, "-S", "-E", str(Path(__file__).with_name("reaper.py")), self._mine.id],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._mine.note_process(self._reaper.pid)

    def _make_files(self) -> None:
        self.private.mkdir(mode=0o700)
        make_key(self.client_key, "fleettrace-lab")
        client = " ".join(self.client_key.with_name("client_key.pub").read_text().split()[:2])
        network = self._network()
        for index, spec in enumerate(self.specs):
            host = Host(spec, index, network, self._mine.files)
            host.prepare(client)
            self.hosts[spec.name] = host
        other = make_key(self.private / "other_key", "another") if self._any(HostKeyKind.CHANGED) else ""
        lines = []
        for host in self.hosts.values():
            key = other if host.spec.host_key is HostKeyKind.CHANGED else host.public_key
            if key and host.spec.host_key is not HostKeyKind.UNKNOWN:
                lines.append(f"{host.name},{host.address} {key}\n")
        self.known_hosts.write_text("".join(lines))
        self.ssh_config.write_text(
            f"Host 10.231.{self._mine.subnet}.*\n  IdentityFile {self.client_key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n"
        )

    def _any(self, kind: HostKeyKind) -> bool:
        return any(spec.host_key is kind for spec in self.specs)

    def _write_inventory(self) -> None:
        groups: dict[str, dict[str, dict[str, object]]] = {}
        for host in self.hosts.values():
            for group in host.spec.groups:
                groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
        tree = {
            "all": {
                "vars": {"ansible_ssh_private_key_file": str(self.client_key), "fleettrace_scope": "netns"},
                "hosts": {host.name: host.variables() for host in self.hosts.values()},
                "children": groups,
            }
        }
        self.inventory.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def leave(number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM: raise `SystemExit`, so that `with` blocks clean up, with the exit code that a shell reports."""
    raise SystemExit(128 + number)
