"""`accept-new`: unknown host keys are stored and accepted, changed and revoked ones refused."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fleettrace.transport.interface import HostKeyPolicy, Target, Transport
from tests.transport.running import failing
from tests.transport.sshd import Sshd, key_pair


def new(sshd: Sshd, known: Path) -> Target:
    return sshd.target(known_hosts=known, host_key=HostKeyPolicy.ACCEPT_NEW)


def test_new_key_is_stored_once(ssh: Transport, sshd: Sshd, tmp_path: Path, by_openssh: bool) -> None:
    known = tmp_path / "new" / "known_hosts"
    # Of several `ssh` that log in to a new host at the same time, each stores its key.
    logins = 1 if by_openssh else 4
    threads = [threading.Thread(target=lambda: ssh.connect(new(sshd, known)).close()) for _ in range(logins)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [line] = known.read_text().splitlines()
    name, type_, _key = line.split()
    assert (name, type_) == (f"[127.0.0.1]:{sshd.port}", "ssh-ed25519")
    assert sshd.known_hosts.read_text().startswith(line)
    ssh.close()
    ssh.connect(sshd.target(known_hosts=known)).close()


def test_changed_key_is_refused_and_not_stored(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    key_pair(tmp_path / "other")
    known.write_text(f"[127.0.0.1]:{sshd.port} {(tmp_path / 'other.pub').read_text()}")
    before = known.read_bytes()
    with failing("host-key-changed", "host-key"):
        ssh.connect(new(sshd, known))
    assert known.read_bytes() == before


def test_revoked_key_is_refused(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"@revoked {sshd.known_hosts.read_text()}")
    with failing("host-key-revoked", "host-key"):
        ssh.connect(new(sshd, known))


def test_unwritable_file_refuses_the_host(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    with failing("host-key-unsaved", "host-key") as caught:
        ssh.connect(new(sshd, tmp_path))
    assert f"written to {tmp_path}" in str(caught.value)


def test_strict_is_the_default(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    with failing("host-key-unknown", "host-key"):
        ssh.connect(sshd.target(known_hosts=tmp_path / "known_hosts"))


@pytest.mark.parametrize("value", ["accept-new", "no", "off"])
@pytest.mark.parametrize("by", ["ssh_config", "arguments"])
def test_site_may_accept_unknown_host_keys(ssh: Transport, sshd: Sshd, tmp_path: Path, value: str, by: str) -> None:
    config, known = tmp_path / "config", tmp_path / "known"
    config.write_text(f"StrictHostKeyChecking {value}\n" if by == "ssh_config" else "")
    words = ("-o", f"StrictHostKeyChecking={value}") if by == "arguments" else ()

    def target(policy: HostKeyPolicy | None) -> Target:
        return sshd.target(known_hosts=known, ssh_config=config, ssh_arguments=words, host_key=policy)

    with failing("host-key-unknown", "host-key"):
        ssh.connect(target(HostKeyPolicy.STRICT))
    ssh.connect(target(None)).close()
    assert known.read_text().startswith(f"[127.0.0.1]:{sshd.port} ")
    key_pair(tmp_path / "other")
    known.write_text(f"[127.0.0.1]:{sshd.port} {(tmp_path / 'other.pub').read_text()}")
    ssh.close()
    with failing("host-key-changed", "host-key"):
        ssh.connect(target(None))


def test_hash_known_hosts_is_respected(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    config, known = tmp_path / "config", tmp_path / "known"
    config.write_text(f"Host *\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile none\n  HashKnownHosts yes\n")
    ssh.connect(sshd.target(known_hosts=None, ssh_config=config, host_key=HostKeyPolicy.ACCEPT_NEW)).close()
    assert known.read_text().startswith("|1|")
    ssh.close()
    ssh.connect(sshd.target(known_hosts=None, ssh_config=config)).close()
