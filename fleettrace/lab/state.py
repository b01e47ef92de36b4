"""The state of labs on this machine, and their complete removal by any process.

Every namespace, link, user, directory and control group of a lab has the lab's id (`ft3a9c`) in its name. `remove`
therefore needs only the id, and also removes a lab with a set-up that was killed halfway. Each lab records its owner
(pid and start time) and its processes outside the namespaces in /run/fleettrace-lab/<id>/. Its files are in
/var/lib/fleettrace-lab/<id>/, because /run is often mounted noexec.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from fleettrace.errors import FleettraceError
from fleettrace.lab.namespaces import delete_network, inodes, networks_in_use
from fleettrace.lab.system import Process, file_lock, kill_all, process, processes_in_netns, run

__all__ = ["SUDOERS", "Claim", "claim", "labs", "remove", "sweep_stale"]

STATE = Path("/run/fleettrace-lab")
FILES = Path("/var/lib/fleettrace-lab")
SUDOERS = Path("/etc/sudoers.d")
ID = re.compile(r"ft[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class Claim:
    """The resources that a lab has reserved on this machine: its id and its network, 10.231.`subnet`.0/24."""

    id: str
    subnet: int

    @property
    def state(self) -> Path:
        return STATE / self.id

    @property
    def files(self) -> Path:
        return FILES / self.id

    def note_process(self, pid: int) -> None:
        """Record a process outside the lab's namespaces, which `remove` then kills."""
        if (one := process(pid)) is not None:
            with (self.state / "processes").open("a") as notes:
                notes.write(f"{one.pid} {one.started}\n")


def claim() -> Claim:
    """Reserve an id and a free network for a lab of this process, after removing labs without an owner. Needs root."""
    if os.geteuid() != 0:
        raise FleettraceError("the lab makes network namespaces and needs root: run it as root or with sudo")
    with file_lock(STATE / "lock"):
        sweep()
        owner = process(os.getpid())
        if owner is None:
            raise FleettraceError("lab: /proc has no entry for this process: mount /proc")
        taken = networks_in_use() | {int(path.read_text()) for path in STATE.glob("ft*/subnet")}
        free = [number for number in range(256) if number not in taken]
        if not free:
            raise FleettraceError("lab: every network from 10.231.0.0/24 to 10.231.255.0/24 is in use on this machine")
        mine = Claim(new_id(), secrets.choice(free))
        mine.state.mkdir(mode=0o700)
        (mine.state / "subnet").write_text(str(mine.subnet))
        (mine.state / "owner").write_text(f"{owner.pid} {owner.started}")
        mine.files.mkdir(mode=0o711, parents=True)
    return mine


def new_id() -> str:
    while (STATE / (name := f"ft{secrets.token_hex(2)}")).exists() or (FILES / name).exists():
        pass
    return name


def labs() -> dict[str, Process | None]:
    """Return every lab on this machine by id, with its recorded owner, or None if it has recorded none."""
    names = {path.name for directory in (STATE, FILES) if directory.is_dir() for path in directory.iterdir()}
    return {name: owner_of(name) for name in sorted(names) if ID.fullmatch(name)}


def owner_of(name: str) -> Process | None:
    owners = noted(STATE / name / "owner")
    return owners[0] if owners else None


def noted(path: Path) -> list[Process]:
    """Return the processes recorded in a file, one a line. Ignores a line that a crash has truncated."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [Process(int(two[0]), int(two[1])) for two in words if len(two) == 2]


def sweep_stale() -> list[str]:
    """Remove every lab without a living owner and return their ids."""
    with file_lock(STATE / "lock"):
        return sweep()


def sweep() -> list[str]:
    stale = [name for name, owner in labs().items() if owner is None or not owner.alive]
    for name in stale:
        remove(name)
    return stale


def remove(name: str) -> None:
    """Remove the lab `name`. Idempotent. Raises `FleettraceError` when a part of it remains."""
    if not ID.fullmatch(name):
        raise FleettraceError(f"lab: invalid id `{name}`: expected ft and four hexadecimal digits")
    outside = [one for one in noted(STATE / name / "processes") if one.pid != os.getpid()]
    kill_all(lambda: [one for one in outside if one.alive])
    kill_all(lambda: processes_in_netns(inodes(name)))
    delete_network(name)
    for line in Path("/etc/passwd").read_text().splitlines():
        if line.startswith(f"{name}u"):
            delete_user(line.split(":")[0])
    remove_cgroups(name)
    shutil.rmtree(FILES / name, ignore_errors=True)
    if (FILES / name).exists():
        shutil.rmtree(FILES / name)
    shutil.rmtree(STATE / name, ignore_errors=True)


def delete_user(user: str) -> None:
    """Delete a lab's user and sudo's files about it."""
    for path in (SUDOERS, *map(Path, ("/run/sudo/ts", "/var/lib/sudo/ts", "/var/lib/sudo/lectured"))):
        (path / user).unlink(missing_ok=True)
    run(["userdel", "--force", user], check=False)


def remove_cgroups(name: str) -> None:
    """Remove the control groups of a lab's containers from every hierarchy, after their processes were killed."""
    deadline = time.monotonic() + 5
    for root in [*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path(f"/sys/fs/cgroup/{name}")]:
        while root.is_dir():
            for directory, _, _ in os.walk(root, topdown=False):
                try:
                    Path(directory).rmdir()
                except OSError:
                    time.sleep(0.02)
            if time.monotonic() > deadline:
                return
