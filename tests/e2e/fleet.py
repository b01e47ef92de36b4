"""The fleet that the tests share, its traffic, and checks of its hosts."""

from __future__ import annotations

import re
import time
from base64 import b64decode
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleettrace.lab.fleet import Lab
from fleettrace.lab.profile import ALL_VERBS, HOSTILE_ASCII, HOSTILE_BINARY, Profile, plan
from fleettrace.lab.protocol import Command
from fleettrace.lab.specs import Bpftrace, HostKeyKind, HostSpec, InstanceSpec, Login, Reach, Shape, container, two
from fleettrace.lab.system import process, wait_until
from fleettrace.lab.truth import TracedInstance

__all__ = [
    "FAILING",
    "FLEET",
    "IDLE",
    "TRACED",
    "command_of",
    "key_of",
    "keys_of",
    "patched",
    "plan_for",
    "tracers",
    "untraced",
    "wait_until_untraced",
]

SHAPES = (
    InstanceSpec(11211, Shape.WRAPPER),
    InstanceSpec(11212, Shape.RENAMED),
    InstanceSpec(11213, Shape.DELETED),
)
TRACED = ("plain", "two", "container", "shapes", "sudo", "password")
IDLE = ("victim", "shot", "empty")
"""Healthy hosts without traffic in the sweep of all hosts."""
FAILING = {
    "down": ("unreachable", "no-route", ""),
    "closed": ("unreachable", "connection-refused", ""),
    "mute": ("unreachable", "banner-timeout", ""),
    "stranger": ("auth-failed", "auth-failed", "root"),
    "changed": ("host-key", "host-key-changed", ""),
    "unknown": ("host-key", "host-key-unknown", ""),
    "refused": ("become-failed", "become-refused", ""),
    "wrong-password": ("become-failed", "become-wrong-password", "ansible_become_password"),
    "no-password": ("become-failed", "become-password-required", "ansible_become_password"),
    "bare": ("no-bpftrace", "no-bpftrace", "fleettrace_bpftrace"),
    "old": ("no-bpftrace", "bpftrace-too-old", "0.9.4"),
    "broken": ("trace-failed", "program-refused", "a stand-in that never attaches"),
    "flood": ("trace-failed", "output-limit", ""),
}
"""The state and the error code of each host that fails, and a value that its message contains: the variable to set, or
what the host reported."""
LENGTHS = (3, 70, 71, 72, 73, 126, 127, 128, 129, 141, 142, 143, 144, 198, 199, 200, 212, 213, 214, 215, 249, 250)
"""Key lengths at and beside the limits of the strings that a key is split into."""
FLEET = (
    HostSpec("plain"),
    HostSpec("two", two()),
    HostSpec("container", container()),
    HostSpec("shapes", SHAPES),
    HostSpec("sudo", login=Login.SUDO),
    HostSpec("password", login=Login.SUDO_PASSWORD),
    HostSpec("victim"),
    HostSpec("shot"),
    HostSpec("empty", ()),
    HostSpec("down", (), reach=Reach.DOWN),
    HostSpec("closed", (), reach=Reach.CLOSED),
    HostSpec("mute", (), reach=Reach.MUTE),
    HostSpec("stranger", (), authorized=False),
    HostSpec("changed", (), host_key=HostKeyKind.CHANGED),
    HostSpec("unknown", (), host_key=HostKeyKind.UNKNOWN),
    HostSpec("refused", (), login=Login.SUDO_REFUSED),
    HostSpec("wrong-password", (), login=Login.SUDO_WRONG_PASSWORD),
    HostSpec("no-password", (), login=Login.SUDO_NO_PASSWORD),
    HostSpec("bare", bpftrace=Bpftrace.ABSENT),
    HostSpec("old", bpftrace=Bpftrace.OLD),
    HostSpec("broken", bpftrace=Bpftrace.BROKEN),
    HostSpec("flood", bpftrace=Bpftrace.FLOOD),
)


def plan_for(instance: TracedInstance, *, commands: int = 600, hostile: bool = True) -> list[Command]:
    """Return traffic of every protocol and command for one instance. No other instance gets half of its keys."""
    profile = Profile(
        verbs=ALL_VERBS,
        families=("common:{n}", f"{instance.host}:{instance.port}:{{n}}"),
        keys=40,
        hostile=(HOSTILE_ASCII + HOSTILE_BINARY) if hostile else (),
        hostile_share=0.3 if hostile else 0.0,
        multiget=8,
    )
    borders = tuple(b"%d:" % length + b"x" * (length - len(b"%d:" % length)) for length in LENGTHS)
    hundred = tuple(f"{instance.host}:{instance.port}:{number}".encode() for number in range(1, 40, 2)) * 5
    return [
        *plan(profile, instance.port, commands),
        Command("get", hundred),
        Command("gat", hundred),
        Command("get", borders),
        Command("set", borders[-1:]),
    ]


def key_of(shown: Any) -> bytes:
    """Return the bytes of a key of a JSON report."""
    return b64decode(shown["key_base64"]) if shown["key_base64"] is not None else shown["key"].encode()


def keys_of(rows: Any) -> Counter[bytes]:
    """Return the requests by key of a JSON report's rows, in which no key may occur twice."""
    counted = Counter({key_of(row): row["requests"] for row in rows})
    assert len(counted) == len(rows)
    return counted


def tracers(lab: Lab) -> list[str]:
    """Return the running bpftrace processes of the lab's hosts."""
    found = []
    for host in lab.hosts.values():
        if Path("/run/netns", host.namespace).exists():
            found += [f"{host.name}: {one.pid}" for one in host.processes("bpftrace")]
    return found


def untraced(lab: Lab, *hosts: str) -> bool:
    """Return whether no uprobe is attached to any memcached of these hosts."""
    return not any(patched(pid) for name in hosts for pid in lab.hosts[name].pids.values())


def wait_until_untraced(lab: Lab, *hosts: str, seconds: float = 5.0) -> None:
    """Wait until no bpftrace runs on the lab's hosts and no uprobe is attached on these.

    A killed bpftrace is a zombie before the last of its threads releases its probes.
    """
    end = time.monotonic() + seconds
    wait_until(lambda: not tracers(lab), "bpftrace does not end", seconds=seconds, pause=0.1)
    remaining = max(0.1, end - time.monotonic())
    wait_until(lambda: untraced(lab, *hosts), "a probe is not removed", seconds=remaining, pause=0.1)


def patched(pid: int) -> bool:
    """Return whether a process's program text differs from its file: a uprobe is attached to it."""
    if process(pid) is None:
        raise AssertionError(f"process {pid} does not run")
    exe = Path(f"/proc/{pid}/exe")
    inode = exe.stat().st_ino
    with exe.open("rb") as file, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-xp ([0-9a-f]+) \S+ (\d+)", line)
            if found and int(found[4]) == inode:
                start, end, offset = (int(found[index], 16) for index in (1, 2, 3))
                file.seek(offset)
                memory.seek(start)
                text = file.read(end - start)
                if memory.read(len(text)) != text:
                    return True
    return False


def command_of(pid: int) -> str:
    """Return a process's pid and command line, for a message."""
    with suppress(OSError):
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()[:100]!r}"
    return f"{pid} (gone)"
