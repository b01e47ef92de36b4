"""Measure a sweep of many hosts, beside the tools that run one command on many hosts.

    python -m benchmarks.sweep [--hosts 500] [--window 10] [--rivals ansible pyinfra clush xargs]
    python -m benchmarks.sweep --detach [--hosts 500] [--window 10]

The hosts are addresses in 127.0.0.0/8 in a separate network namespace, all served by one real sshd. The stand-in for
bpftrace replays the output of a real one: the trace of a real memcached under requests for 200 keys, all of which are
in every slice. Everything else is as on any host: the discovery, the samples of memcached's counters, the bounds.

The other tools run the same scripts from one file on the hosts, and only collect the output. All log in with ed25519
keys and exchange keys by curve25519. Each has as many sessions at once as there are hosts; Ansible, which forks a
process for each session, has 100.

The output has seconds, client CPU (user and system, with children) in total and for each host, and the peak memory of
the client's first process (ru_maxrss would begin with that of this one). Of fleettrace's CPU it shows the part for
parsing the output, which the other tools do not do. Tools that are not installed are left out. With `--detach`, which
no other tool can do, it shows the spread of the windows' beginnings. Needs root, OpenSSH's server, perl and bpftrace.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from benchmarks.replaying import recorded, stand_in
from fleettrace.lab.build import memcached_binary
from fleettrace.lab.sshd import PRIVILEGE_SEPARATION, make_key

__all__ = ["main"]

SSH_PORT, MEMCACHED_PORT = 2222, 11211
FIRST = int(IPv4Address("127.1.0.1"))
INSIDE = "FLEETTRACE_BENCHMARK_INSIDE"
SSHD = """\
Port {port}
ListenAddress 0.0.0.0
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
PrintLastLog no
MaxStartups 5000
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org
LogLevel ERROR
SetEnv SHLVL=1
"""
SSH = """\
Host *
    User root
    Port {port}
    IdentityFile {directory}/client_key
    IdentitiesOnly yes
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    KexAlgorithms curve25519-sha256
    BatchMode yes
    ConnectTimeout 60
"""


class Spent(NamedTuple):
    """The resources that a client used."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    answers: int
    """Hosts with complete output."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts, and the directory of their files."""

    directory: Path
    hosts: int
    window_s: int

    @property
    def addresses(self) -> list[str]:
        return [str(IPv4Address(FIRST + number)) for number in range(self.hosts)]

    def file(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path


@contextmanager
def serving(fleet: Fleet) -> Iterator[int]:
    """Run sshd and a memcached; yield memcached's pid."""
    directory = fleet.directory
    for name in ("host_key", "client_key"):
        make_key(directory / name, "fleettrace-benchmark")
    shutil.copy(directory / "client_key.pub", directory / "authorized_keys")
    key = " ".join((directory / "host_key.pub").read_text().split()[:2])
    names = (f"[{address}]:{SSH_PORT} {key}\n" for address in fleet.addresses)
    fleet.file("known_hosts", "".join(names))
    fleet.file("ssh_config", SSH.format(port=SSH_PORT, directory=directory))
    PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    config = fleet.file("sshd_config", SSHD.format(port=SSH_PORT, directory=directory))
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    with ExitStack() as stack:
        started = []
        for command in (
            [sshd, "-D", "-e", "-f", str(config)],
            [str(memcached_binary()), "-u", "nobody", "-l", "127.0.0.1", "-p", str(MEMCACHED_PORT), "-t", "1"],
        ):
            process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            stack.callback(process.terminate)
            started.append(process.pid)
        for port in (SSH_PORT, MEMCACHED_PORT):
            wait_for(port)
        yield started[1]


def wait_for(port: int) -> None:
    """Wait until a process listens on the port."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def spent(fleet: Fleet, name: str, command: Sequence[str], end: bytes, **environment: str) -> Spent:
    """Run a client to its end. Its output must contain `end` once for each host."""
    output = fleet.directory / f"{name}.out"
    with output.open("wb") as out, (fleet.directory / f"{name}.err").open("wb") as err:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **environment}
        )
        peak_kb = 0
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak_kb = max([peak_kb, *map(int, re.findall(r"VmHWM:\s*(\d+)", status))])
            time.sleep(0.05)
        used = ended[2]
        wall = time.monotonic() - began
    process.returncode = 0
    answers = output.read_bytes().count(end)
    return Spent(name, wall, used.ru_utime + used.ru_stime, peak_kb / 1024, answers)


def fleettrace(fleet: Fleet, replay: Path, *more: str) -> Spent:
    """Run a sweep to its JSON report."""
    options = {"ansible_port": SSH_PORT, "ansible_user": "root", "fleettrace_bpftrace": str(replay)}
    options |= {"ansible_ssh_private_key_file": str(fleet.directory / "client_key"), "fleettrace_scope": "netns"}
    hosts = {f"cache-{number:04}": {"ansible_host": address} for number, address in enumerate(fleet.addresses)}
    inventory = fleet.file("inventory.yaml", json.dumps({"all": {"vars": options, "hosts": hosts}}))
    words = ["-m", "fleettrace", "run", "-i", str(inventory), "--forks", str(fleet.hosts), "--connect-timeout", "60s"]
    words += ["--duration", f"{fleet.window_s}s", "--ssh-config", str(fleet.directory / "ssh_config")]
    words += ["--output", "json", "--no-store", "-q", *more]
    taken = spent(fleet, "fleettrace", [sys.executable, *words], b"")
    report = json.loads((fleet.directory / "fleettrace.out").read_bytes())
    states: dict[str, int] = {}
    for host in report["hosts"]:
        state = host["state"] if host["error"] is None else f"{host['state']}: {host['error']['message'][:80]}"
        states[state] = states.get(state, 0) + 1
    if set(states) != {"ok"}:
        print(f"# not all are ok: {states}")
    return taken._replace(answers=states.get("ok", 0))


def rival(name: str, fleet: Fleet, work: Path) -> Spent | None:
    """Run another tool; return None if it is not installed."""
    config, directory, count = str(fleet.directory / "ssh_config"), fleet.directory, str(fleet.hosts)
    program = str(Path(sys.executable).parent / name)
    if not Path(program).exists():
        program = shutil.which(name) or ""
    if not program:
        print(f"# {name} is not installed")
        return None
    end = b"end-of-work"
    command = f"sh {work}"
    addresses = fleet.file("addresses", "".join(f"{address}\n" for address in fleet.addresses))
    if name == "ansible":
        words = [program, "all", "-i", str(addresses), "-f", "100", "-m", "raw", "-a", command]
        return spent(
            fleet,
            name,
            words,
            end,
            ANSIBLE_SSH_ARGS=f"-F {config} -o ControlMaster=no",
            ANSIBLE_LOCALHOST_WARNING="0",
            ANSIBLE_HOME=str(directory / "ansible"),
        )
    if name == "pyinfra":
        data = {"ssh_user": "root", "ssh_port": SSH_PORT, "ssh_key": str(directory / "client_key")}
        data |= {"ssh_known_hosts_file": str(directory / "known_hosts"), "ssh_config_file": config}
        inventory = fleet.file("inventory.py", f"hosts = [(host, {data!r}) for host in {fleet.addresses!r}]\n")
        words = [program, "-y", "--parallel", count, str(inventory), "exec", "--", *shlex.split(command)]
        both = ["sh", "-c", f"exec {shlex.join(words)} 2>&1"]
        return spent(fleet, name, both, end)
    if name == "clush":
        return spent(
            fleet, name, [program, "-f", count, "-o", f"-F {config}", "--hostfile", str(addresses), command], end
        )
    each = f"xargs -a {addresses} -P {count} -I @ ssh -F {config} @ {command}"
    return spent(fleet, "xargs", ["sh", "-c", each], end)


def windows(fleet: Fleet) -> str:
    """Return the spread of the windows' beginnings, from the log."""
    for line in (fleet.directory / "log.jsonl").read_text().splitlines():
        if (event := json.loads(line))["event"] == "run.window":
            return f"{event['hosts']} windows began within {event['spread_s']} s, known to {event['within_s']} s"
    return "no window began"


def measure(fleet: Fleet, rivals: Sequence[str], *, detach: bool) -> None:
    """Run all clients and print the table."""
    with serving(fleet) as pid:
        recording = recorded(fleet.directory, pid, MEMCACHED_PORT, fleet.window_s)
        replay = fleet.file("bpftrace", stand_in(fleet.directory), 0o755)
        work = fleet.file("work.sh", recording.work(replay))
        rows = [
            fleettrace(fleet, replay, *(["--detach", "--log", str(fleet.directory / "log.jsonl")] if detach else []))
        ]
        if detach:
            print(windows(fleet))
        parsing = recording.parsing_s() * fleet.hosts
        for name in [] if detach else rivals:
            row = rival(name, fleet, work)
            if row is not None:
                rows.append(row)
    print(f"{fleet.hosts} hosts, a window of {fleet.window_s} s, {os.cpu_count()} CPUs")
    print(f"{'':12} {'wall s':>8} {'CPU s':>8} {'ms a host':>10} {'peak MB':>8} {'answers':>8}")
    for row in rows:
        each = row.cpu_s / fleet.hosts * 1000
        print(f"{row.name:12} {row.wall_s:>8.1f} {row.cpu_s:>8.1f} {each:>10.1f} {row.peak_mb:>8.0f} {row.answers:>8}")
    rest = (rows[0].cpu_s - parsing) / fleet.hosts * 1000
    print(
        f"fleettrace parses {recording.size:,} bytes a host in {parsing / fleet.hosts * 1000:.1f} ms; beside that",
        end=" ",
    )
    print(f"{rest:.1f} ms a host")


def main() -> None:
    """Run the benchmark in a network namespace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--window", type=int, default=10, help="seconds")
    parser.add_argument("--rivals", nargs="*", default=["xargs", "clush", "pyinfra", "ansible"])
    parser.add_argument("--detach", action="store_true", help="one window for all; no rivals")
    options = parser.parse_args()
    if INSIDE not in os.environ:
        inside = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable]
        os.execvpe("unshare", [*inside, "-m", "benchmarks.sweep", *sys.argv[1:]], {**os.environ, INSIDE: "yes"})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="fleettrace-sweep-") as directory:
        Path(directory).chmod(0o755)
        measure(Fleet(Path(directory), options.hosts, options.window), options.rivals, detach=options.detach)


if __name__ == "__main__":
    main()
