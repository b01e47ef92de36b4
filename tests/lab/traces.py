"""Find what a lab has left on the machine."""

from __future__ import annotations

from pathlib import Path

from fleettrace.lab.system import all_pids, process


def traces_of(lab: str) -> list[str]:
    """Return everything on this machine with a lab's id: files, links, users, mounts, control groups, processes."""
    directories = (
        "/run/netns",
        "/sys/class/net",
        "/etc/sudoers.d",
        "/run/fleettrace-lab",
        "/var/lib/fleettrace-lab",
        "/run/sudo/ts",
        "/var/lib/sudo/lectured",
    )
    found = [str(path) for directory in directories for path in Path(directory).glob(f"{lab}*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{lab}")]
    for table in ("/etc/passwd", "/etc/group", "/proc/self/mounts"):
        found += [f"{table}: {line}" for line in Path(table).read_text().splitlines() if lab in line]
    for pid in all_pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if lab.encode() in command and process(pid) is not None:
            found.append(f"process {pid}: {command[:80]!r}")
    return found
