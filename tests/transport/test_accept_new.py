"""`accept-new`: an unknown host's key is written down and believed, a changed or revoked one never."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.transport.interface import HostKeyPolicy, Target, Transport
from tests.transport.running import failing
from tests.transport.sshd import Sshd, key_pair


def new(sshd: Sshd, known: Path) -> Target:
    return sshd.target(known_hosts=known, host_key=HostKeyPolicy.ACCEPT_NEW)


def test_a_new_key_is_written_down_once_and_then_known_to_all(
    ssh: Transport, sshd: Sshd, tmp_path: Path, by_openssh: bool
) -> None:
    known = tmp_path / "new" / "known_hosts"
    # Several `ssh` that meet a host for the first time at the same moment each write its key down.
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


def test_a_key_that_changed_is_refused_and_the_file_left_alone(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    key_pair(tmp_path / "other")
    known.write_text(f"[127.0.0.1]:{sshd.port} {(tmp_path / 'other.pub').read_text()}")
    before = known.read_bytes()
    with failing("host-key-changed", "host-key"):
        ssh.connect(new(sshd, known))
    assert known.read_bytes() == before


def test_a_revoked_key_is_refused(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"@revoked {sshd.known_hosts.read_text()}")
    with failing("host-key-revoked", "host-key"):
        ssh.connect(new(sshd, known))


def test_a_file_that_cannot_be_written_believes_nobody(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    with failing("host-key-unsaved", "host-key") as caught:
        ssh.connect(new(sshd, tmp_path))
    assert f"written to {tmp_path}" in str(caught.value)


def test_strict_is_what_holds_unless_it_is_chosen(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        ssh.connect(sshd.target(known_hosts=tmp_path / "known_hosts"))
    assert "--host-key accept-new" in str(caught.value)


def test_ssh_config_says_whether_names_are_hashed(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    config, known = tmp_path / "config", tmp_path / "known"
    config.write_text(f"Host *\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile none\n  HashKnownHosts yes\n")
    ssh.connect(sshd.target(known_hosts=None, ssh_config=config, host_key=HostKeyPolicy.ACCEPT_NEW)).close()
    assert known.read_text().startswith("|1|")
    ssh.close()
    ssh.connect(sshd.target(known_hosts=None, ssh_config=config)).close()
