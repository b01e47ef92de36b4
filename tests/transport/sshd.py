"""Run a real sshd for a test, with its own port, host key and configuration."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.transport.interface import Target

__all__ = ["Account", "Sshd", "account", "key_pair", "running_sshd"]


@dataclass
class Sshd:
    """A running server, and what a client needs to log in to it."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    key_file: Path
    known_hosts: Path
    host_key: Path
    user: str

    def target(self, name: str = "web1", **changes: object) -> Target:
        """Return a target that logs in as `user` with the right key, with `changes` applied."""
        options: dict[str, object] = {
            "address": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "key_file": self.key_file,
            "known_hosts": self.known_hosts,
            "ssh_config": self.directory / "no_config",
            "connect_timeout": 10.0,
        }
        return Target(name=name, **(options | changes))  # type: ignore[arg-type]

    def logins(self) -> int:
        """Return the number of logins that it accepted."""
        return self.log().count("Accepted ")

    def log(self) -> str:
        """Return its log."""
        return (self.directory / "log").read_text()

    def sessions(self) -> list[int]:
        """Return the processes that serve a connection now."""
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def cut(self) -> None:
        """Kill the processes that serve connections, but not the listener."""
        for parent in self.sessions():
            children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, check=False)
            for pid in [*(int(pid) for pid in children.stdout.split() if _is_sshd(int(pid))), parent]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the server and every connection."""
        self.cut()
        self.process.kill()
        self.process.wait()


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "sshd"
    except OSError:
        return False


def key_pair(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair and return the path of the private key."""
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path


@contextmanager
def running_sshd(directory: Path, user: str, *extra: str) -> Iterator[Sshd]:
    """Start sshd on a free port of 127.0.0.1, for the key of `user`; `extra` lines of sshd_config go first."""
    directory.mkdir(parents=True, exist_ok=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    host_key, key_file = key_pair(directory / "host_key"), key_pair(directory / "key")
    (directory / "key.pub").rename(directory / "authorized_keys")
    (directory / "no_config").touch()
    (directory / "log").unlink(missing_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (directory / "sshd_config").write_text(
        "\n".join(
            [
                # sshd takes the last line of this option, and the first of every other.
                "MaxStartups 200",
                *extra,
                # OpenSSH's default takes seven times the CPU of this in `ssh`.
                "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org",
                f"Port {port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {host_key}",
                f"AuthorizedKeysFile {directory}/authorized_keys",
                f"PidFile {directory}/pid",
                "StrictModes no",
                "UsePAM no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin yes",
                "",
            ]
        )
    )
    known_hosts = directory / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {(directory / 'host_key.pub').read_text()}")
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert sshd is not None, "openssh-server is missing"
    process = subprocess.Popen([sshd, "-D", "-f", directory / "sshd_config", "-E", directory / "log"])
    server = Sshd(directory, port, process, key_file, known_hosts, host_key, user)
    try:
        _wait_for_port(port, process)
        yield server
    finally:
        server.stop()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, "sshd ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("sshd did not listen within 10 s")


@dataclass(frozen=True)
class Account:
    """A user of this machine, created for a test."""

    name: str
    home: Path
    password: str = field(repr=False)


@contextmanager
def account(name: str, *, shell: str = "/bin/sh", password: str = "", sudo: str | None = None) -> Iterator[Account]:
    """Create a user, and `sudo` as a rule of sudoers for it; remove both at the end."""
    subprocess.run(["userdel", "-rf", name], capture_output=True, check=False)
    subprocess.run(["useradd", "--create-home", "--shell", shell, name], check=True)
    # `*` matches no password. Unlike `!`, it does not lock the account, which sshd without PAM would respect.
    line = f"{name}:{password}" if password else f"{name}:*"
    subprocess.run(["chpasswd", *([] if password else ["-e"])], input=line.encode(), check=True)
    rule = Path(f"/etc/sudoers.d/{name}")
    try:
        if sudo is not None:
            rule.write_text(sudo.replace("USER", name) + "\n")
            rule.chmod(0o440)
        yield Account(name, Path(f"/home/{name}"), password)
    finally:
        rule.unlink(missing_ok=True)
        subprocess.run(["pkill", "-KILL", "-u", name], capture_output=True, check=False)
        subprocess.run(["userdel", "-rf", name], capture_output=True, check=False)
