"""A controller with the ssh_config of Red Hat's distributions in place, in a mount namespace of its own."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.local import ADDRESS, binary, served
from tests.transport.sshd import Sshd

pytestmark = pytest.mark.lab

SYSTEM = "Include /etc/ssh/ssh_config.d/*.conf\n"
# The directives of EL 9's 50-redhat.conf, and of the crypto policy DEFAULT that it includes.
RED_HAT = """\
Match final all
\tInclude /etc/crypto-policies/back-ends/openssh.config
\tGSSAPIAuthentication yes
\tForwardX11Trusted yes
"""
POLICY = """\
Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-gcm@openssh.com,aes128-ctr
MACs hmac-sha2-256-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-512-etm@openssh.com
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,diffie-hellman-group14-sha256
PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512
HostKeyAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512
CASignatureAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512
RequiredRSASize 2048
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A copy of /etc with those files."""
    path = tmp_path / "etc"
    shutil.copytree("/etc", path, symlinks=True, ignore=lambda name, _names: ["ssh"] if name == "/etc" else [])
    for name, text in (
        ("ssh/ssh_config", SYSTEM),
        ("ssh/ssh_config.d/50-redhat.conf", RED_HAT),
        ("crypto-policies/back-ends/openssh.config", POLICY),
    ):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def fleettrace(etc: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run fleettrace where /etc is `etc`."""
    command = shlex.join([sys.executable, "-m", "fleettrace", *words])
    script = f"mount --bind {shlex.quote(str(etc))} /etc && cat /etc/ssh/ssh_config.d/* >&2 && exec {command}"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env={"PATH": "/usr/bin:/bin:/usr/sbin", "HOME": str(home), "LANG": "C", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def reads(port: int) -> Iterator[None]:
    """Read the key `hot` again and again during the block."""
    over = threading.Event()

    def read() -> None:
        with socket.create_connection((ADDRESS, port), 5) as connection:
            while not over.wait(0.02):
                connection.sendall(b"get hot\r\n")
                connection.recv(100)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("client", ["ssh", "openssh"])
def test_sweep_works_with_the_stock_files(sshd: Sshd, etc: Path, tmp_path: Path, client: str) -> None:
    with served(tmp_path, binary("built")) as memcached, reads(memcached.port):
        inventory = tmp_path / "hosts"
        inventory.write_text(
            f"gold ansible_host={ADDRESS} ansible_port={sshd.port} ansible_user=root "
            f"ansible_ssh_private_key_file={sshd.key_file} fleettrace_instances=[{memcached.port}] "
            f"ansible_ssh_common_args='-o UserKnownHostsFile={sshd.known_hosts}'\n"
        )
        words = ("-i", str(inventory), "--transport", client, "--output", "json")
        plan = fleettrace(etc, tmp_path, "plan", *words)
        assert plan.stderr == RED_HAT, plan.stderr
        (host,) = json.loads(plan.stdout)["hosts"]
        assert (host["address"], host["port"], host["user"], host["jump"]) == (ADDRESS, sshd.port, "root", None)
        for subcommand in (("check",), ("run", "--duration", "2s")):
            logins = sshd.logins()
            done = fleettrace(etc, tmp_path, *subcommand, *words)
            report = json.loads(done.stdout)
            assert [host["state"] for host in report["hosts"]] == ["ok"], done.stdout + done.stderr
            assert sshd.logins() > logins
            assert "warning" not in done.stderr
    assert [row["key"] for row in report["keys"]] == ["hot"]
