"""A real sshd for each host of a lab: keys, configuration, users, and the stand-ins for bpftrace.

Files that only root may read (keys, configurations, known_hosts, the inventory) are in the lab's `private` directory
(mode 0700); files for a host's login user are in `hosts/` and `homes/`.
"""

from __future__ import annotations

import secrets
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleettrace.lab.namespaces import enter
from fleettrace.lab.packages import find_program
from fleettrace.lab.specs import Bpftrace, HostSpec, Login
from fleettrace.lab.state import SUDOERS
from fleettrace.lab.system import run, wait_until

__all__ = [
    "Account",
    "create_account",
    "listen_mute",
    "make_key",
    "sshd_command",
    "stand_in",
    "wait_for_banner",
]

PRIVILEGE_SEPARATION = Path("/run/sshd")  # compiled into Debian's sshd, which does not start without this directory

CONFIG = """\
Port 22
ListenAddress {address}
HostKey {key}
PidFile none
UsePAM no
AuthorizedKeysFile {authorized}
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
MaxSessions 64
UseDNS no
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
"""

STAND_INS = {
    Bpftrace.FLOOD: """\
#!/bin/sh
case "$*" in --version|-V) exec {real} --version;; esac
while :; do head -c 1048576 /dev/zero | tr '\\0' x; echo; done
""",
    Bpftrace.OLD: """\
#!/bin/sh
case "$*" in --version|-V) echo 'bpftrace v0.9.4'; exit 0;; esac
exec {real} "$@"
""",
    Bpftrace.BROKEN: """\
#!/bin/sh
case "$*" in --version|-V) exec {real} --version;; esac
echo 'ERROR: Error loading program: a stand-in that never attaches' >&2
exit 1
""",
}


@dataclass(frozen=True, slots=True)
class Account:
    """The login user of a host, and the path of its authorized_keys file."""

    user: str
    authorized_keys: Path
    become: bool = False
    become_password: str | None = None

    def variables(self) -> dict[str, object]:
        """Return the inventory variables for this account."""
        found: dict[str, object] = {"ansible_user": self.user}
        if self.become:
            found["ansible_become"] = True
        if self.become_password is not None:
            found["ansible_become_password"] = self.become_password
        return found


def make_key(path: Path, comment: str) -> str:
    """Create an ed25519 key pair at `path` and `path`.pub and return the public key's type and value."""
    keygen = find_program("ssh-keygen") or "ssh-keygen"
    run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def create_account(spec: HostSpec, lab: str, index: int, files: Path, client_key: str) -> Account:
    """Create the login user of a host, unless that is root, and authorize the client's key."""
    directory = files / "hosts" / spec.name
    if spec.login is Login.ROOT:
        account = Account("root", directory / "authorized_keys")
    else:
        account = create_user(spec.login, f"{lab}u{index}", files / "homes")
    account.authorized_keys.write_text(f"{client_key} fleettrace-lab\n" if spec.authorized else "")
    account.authorized_keys.chmod(0o644)
    return account


def create_user(login: Login, user: str, homes: Path) -> Account:
    home = homes / user
    homes.mkdir(mode=0o755, exist_ok=True)
    home.mkdir(mode=0o755)
    # Without PAM sshd refuses accounts with a `!` in front of the password hash; `*` just matches no password.
    run(["useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/sh", "--password", "*", user])
    password = secrets.token_urlsafe(12)
    rule = None
    if login is Login.SUDO:
        rule = f"{user} ALL=(ALL) NOPASSWD: ALL\n"
    else:
        run(["chpasswd"], input=f"{user}:{password}\n")
        if login is not Login.SUDO_REFUSED:
            rule = f"{user} ALL=(ALL) ALL\n"
    if rule is not None:
        path = SUDOERS / user
        path.touch(mode=0o440)
        path.write_text(rule)
    given = {
        Login.SUDO_PASSWORD: password,
        Login.SUDO_REFUSED: password,
        Login.SUDO_WRONG_PASSWORD: f"not-{password}",
    }.get(login)
    return Account(user, home / "authorized_keys", become=True, become_password=given)


def sshd_command(
    namespace: str, address: str, account: Account, private: Path, environment: Mapping[str, str], *, hide: bool
) -> list[str]:
    """Write a host's sshd configuration into `private` and return the command that runs sshd in the namespace.

    `private` must contain `host_key`. With `hide`, sshd runs in a mount namespace without bpftrace.
    """
    PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    text = CONFIG.format(address=address, key=private / "host_key", authorized=account.authorized_keys)
    # SHLVL keeps the user's own start-up files out of the lab: bash, started by sshd, reads them unless it seems to run
    # in another shell (bash's shell.c, run_startup_files). sshd applies only the first SetEnv line.
    settings = " ".join(f'"{name}={value}"' for name, value in {"SHLVL": "1", **environment}.items())
    text += f"SetEnv {settings}\n"
    config = private / "sshd_config"
    config.write_text(text)
    command = [find_program("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
    return [*enter(namespace), *(hide_bpftrace(private) if hide else []), *command]


def hide_bpftrace(scratch: Path) -> list[str]:
    """Return the beginning of a command line that runs the rest in a mount namespace without bpftrace.

    An overlay of the program's directory has a whiteout in its place (a device 0:0, see the kernel's
    Documentation/filesystems/overlayfs.rst). Changing PATH would not stop a script that searches /usr/bin itself.
    """
    program = find_program("bpftrace")
    if program is None:
        return []
    directory = Path(program).parent.resolve()
    upper = scratch / "overlay"
    script = (
        'mkdir -p "$1" && mount -t tmpfs lab "$1" && mkdir "$1/upper" "$1/work" && mknod "$1/upper/bpftrace" c 0 0 && '
        'mount -t overlay lab -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$2" && shift 2 && exec "$@"'
    )
    return ["unshare", "--mount", "--", "sh", "-c", script, "sh", str(upper), str(directory)]


def stand_in(kind: Bpftrace, directory: Path) -> Path | None:
    """Write the host's stand-in for bpftrace and return its path, or None for the real bpftrace or none."""
    text = STAND_INS.get(kind)
    if text is None:
        return None
    path = directory / f"bpftrace-{kind}"
    path.write_text(text.format(real=shlex.quote(find_program("bpftrace") or "bpftrace")))
    path.chmod(0o755)
    return path


def listen_mute(namespace: str) -> list[str]:
    """Return the command of a server on port 22 that accepts connections and never sends a byte."""
    code = "import socket, time; s = socket.create_server(('', 22), backlog=64); time.sleep(1e8)"
    return [*enter(namespace), sys.executable, "-S", "-c", code]


def wait_for_banner(address: str, name: str, *, mute: bool = False) -> None:
    """Wait until port 22 sends SSH's first line, or, for a mute host, accepts a connection."""

    def answers() -> bool:
        try:
            with socket.create_connection((address, 22), timeout=5) as connection:
                return mute or connection.recv(4) == b"SSH-"
        except OSError:
            return False

    wait_until(answers, f"the sshd of {name} does not answer at {address}:22")
