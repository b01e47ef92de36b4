"""A controller with the ssh_config of Red Hat's distributions in place, in a mount namespace of its own."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("client", ["ssh", "openssh"])
def test_login_works_with_the_stock_files(sshd: Sshd, etc: Path, tmp_path: Path, client: str) -> None:
    inventory = tmp_path / "hosts"
    inventory.write_text(
        f"gold ansible_host=127.0.0.1 ansible_port={sshd.port} ansible_user=root "
        f"ansible_ssh_private_key_file={sshd.key_file} "
        f"ansible_ssh_common_args='-o UserKnownHostsFile={sshd.known_hosts}'\n"
    )
    words = ("-i", str(inventory), "--transport", client)
    plan = fleettrace(etc, tmp_path, "plan", *words, "--output", "json")
    assert plan.stderr == RED_HAT, plan.stderr
    (host,) = json.loads(plan.stdout)["hosts"]
    assert (host["address"], host["port"], host["user"], host["jump"]) == ("127.0.0.1", sshd.port, "root", None)
    logins = sshd.logins()
    check = fleettrace(etc, tmp_path, "check", *words, "--output", "json")
    (checked,) = json.loads(check.stdout)["hosts"]
    assert checked["state"] in ("ok", "no-instances", "partial"), check.stdout + check.stderr
    assert sshd.logins() > logins
    assert "warning" not in check.stderr
