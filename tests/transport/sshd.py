"""A real sshd of a test's own: its port, its host key, its configuration, and nothing of the machine's."""

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
    """A server that runs, and the client's half to log in to it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    key_file: Path
    known_hosts: Path
    host_key: Path
    user: str

    def target(self, name: str = "web1", **changes: object) -> Target:
        """Log in as `user` with the right key, unless `changes` says otherwise."""
        options: dict[str, object] = {
            "address": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "key_file": self.key_file,
            "known_hosts": self.known_hosts,
            "ssh_config": self.folder / "no_config",
            "connect_timeout": 10.0,
        }
        return Target(name=name, **(options | changes))  # type: ignore[arg-type]

    def logins(self) -> int:
        """How many logins it accepted so far."""
        return self.log().count("Accepted ")

    def log(self) -> str:
        """What it wrote about its connections."""
        return (self.folder / "log").read_text()

    def sessions(self) -> list[int]:
        """The processes that serve a connection now."""
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def cut(self) -> None:
        """Kill what serves the connections; the listener stays."""
        for parent in self.sessions():
            children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, check=False)
            for pid in [*(int(pid) for pid in children.stdout.split() if _is_sshd(int(pid))), parent]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it, and every connection."""
        self.cut()
        self.process.kill()
        self.process.wait()


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "sshd"
    except OSError:
        return False


def key_pair(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair; the private half's path."""
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path


@contextmanager
def running_sshd(folder: Path, user: str, *extra: str) -> Iterator[Sshd]:
    """Start sshd on a free port of 127.0.0.1, for the key of `user`; `extra` lines of sshd_config go first."""
    folder.mkdir(parents=True, exist_ok=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    host_key, key_file = key_pair(folder / "host_key"), key_pair(folder / "key")
    (folder / "key.pub").rename(folder / "authorized_keys")
    (folder / "no_config").touch()
    (folder / "log").unlink(missing_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        "\n".join(
            [
                # Of these sshd takes the last line, of everything else the first.
                "MaxStartups 200",
                *extra,
                # OpenSSH's own choice costs `ssh` seven times the CPU of this.
                "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org",
                f"Port {port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {host_key}",
                f"AuthorizedKeysFile {folder}/authorized_keys",
                f"PidFile {folder}/pid",
                "StrictModes no",
                "UsePAM no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin yes",
                "",
            ]
        )
    )
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert sshd is not None, "openssh-server is missing"
    process = subprocess.Popen([sshd, "-D", "-f", folder / "sshd_config", "-E", folder / "log"])
    server = Sshd(folder, port, process, key_file, known_hosts, host_key, user)
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
    """A user of this machine, made for a test."""

    name: str
    home: Path
    password: str = field(repr=False)


@contextmanager
def account(name: str, *, shell: str = "/bin/sh", password: str = "", sudo: str | None = None) -> Iterator[Account]:
    """Make a user, with a rule of sudoers if `sudo` is one; both are removed in the end."""
    subprocess.run(["userdel", "-rf", name], capture_output=True, check=False)
    subprocess.run(["useradd", "--create-home", "--shell", shell, name], check=True)
    # `*` takes the lock off that sshd without PAM respects, and matches no password.
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
