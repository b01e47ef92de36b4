"""Failed logins of both SSH transports, each with its state and code."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fleettrace.transport.fabric.transport import SshTransport
from fleettrace.transport.interface import Transport
from tests.transport.running import LIMITS, failing
from tests.transport.sshd import Account, Sshd, key_pair, running_sshd

pytestmark = pytest.mark.lab


@contextmanager
def listener(serve: Callable[[socket.socket], None], backlog: int = 8) -> Iterator[int]:
    """Listen on a port of 127.0.0.1, and pass each connection to `serve`."""

    def loop() -> None:
        held = []
        while True:
            try:
                link = server.accept()[0]
                held.append(link)
                serve(link)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_closed_port(ssh: Transport, sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with failing("connection-refused", "unreachable") as caught:
        ssh.connect(sshd.target(port=port))
    assert f"port {port}" in str(caught.value)


def test_unknown_name(ssh: Transport, sshd: Sshd) -> None:
    with failing("dns-failed", "unreachable"):
        ssh.connect(sshd.target(address="no-such-host.invalid"))
    with failing("dns-failed", "unreachable"):
        ssh.connect(sshd.target(address="a" * 64 + ".invalid"))


def test_dropped_packets(ssh: Transport, sshd: Sshd) -> None:
    # Linux drops packets to a listener with a full queue, as a firewall does.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, closing(socket.socket()) as first:
        first.connect(server.getsockname())
        started = time.monotonic()
        with failing("connect-timeout", "unreachable"):
            ssh.connect(sshd.target(port=server.getsockname()[1], connect_timeout=0.5))
        assert time.monotonic() - started < 2


def test_server_that_sends_no_banner(ssh: Transport, sshd: Sshd) -> None:
    started = time.monotonic()
    with listener(lambda _: None) as port, failing("banner-timeout", "unreachable"):
        ssh.connect(sshd.target(port=port, connect_timeout=0.5))
    assert time.monotonic() - started < 2


def test_server_that_hangs_after_its_banner(ssh: Transport, sshd: Sshd) -> None:
    started = time.monotonic()
    with (
        listener(lambda link: link.sendall(b"SSH-2.0-Stuck\r\n")) as port,
        failing("kex-timeout", "unreachable"),
    ):
        ssh.connect(sshd.target(port=port, connect_timeout=0.5))
    assert time.monotonic() - started < 2


def test_server_that_closes_at_once(ssh: Transport, sshd: Sshd) -> None:
    with listener(lambda link: link.close()) as port, failing("banner-closed", "unreachable"):
        ssh.connect(sshd.target(port=port))


@pytest.mark.parametrize("stale_s", [5.0, 0.5])
def test_waiting_for_a_login_extends_the_deadline(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, stale_s: float) -> None:
    monkeypatch.setattr("fleettrace.transport.fabric.connection._LOGINS_AT_ONCE", 1)
    monkeypatch.setattr("fleettrace.transport.fabric.connection._STALE_SECONDS", stale_s)
    ssh = SshTransport()
    with closing(ssh), listener(lambda _: None) as port, ThreadPoolExecutor(2) as pool:
        mute = pool.submit(ssh.connect, sshd.target(port=port, connect_timeout=2.0))
        time.sleep(0.3)
        connection = pool.submit(ssh.connect, sshd.target(connect_timeout=1.0)).result()
        with failing("banner-timeout", "unreachable"):
            mute.result()
        connection.close()


def test_server_of_another_protocol(ssh: Transport, sshd: Sshd) -> None:
    with listener(lambda link: link.sendall(b"220 mail\r\n" * 200)) as port, failing("not-ssh", "unreachable"):
        ssh.connect(sshd.target(port=port, connect_timeout=1.0))


def test_frozen_sshd(ssh: Transport, directory: Path, user: Account) -> None:
    with running_sshd(directory / "frozen", user.name) as server:
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with failing("banner-timeout", "unreachable"):
                ssh.connect(server.target(connect_timeout=0.5))
        finally:
            os.kill(server.process.pid, signal.SIGCONT)


def test_no_algorithm_in_common(ssh: Transport, directory: Path, user: Account, by_openssh: bool) -> None:
    # An algorithm that the client does not know, or does not offer.
    only = "diffie-hellman-group1-sha1" if by_openssh else "sntrup761x25519-sha512@openssh.com"
    with (
        running_sshd(directory / "kex", user.name, f"KexAlgorithms {only}") as server,
        failing("no-common-algorithm", "unreachable"),
    ):
        ssh.connect(server.target())


def test_unknown_host_key(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    with failing("host-key-unknown", "host-key") as caught:
        ssh.connect(sshd.target(known_hosts=empty))
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> {empty}" in str(caught.value)
    assert not empty.exists()


def another_key(sshd: Sshd, directory: Path) -> str:
    key_pair(directory / "other")
    return f"[127.0.0.1]:{sshd.port} {(directory / 'other.pub').read_text()}"


def test_changed_host_key(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("# one\n" + another_key(sshd, tmp_path))
    with failing("host-key-changed", "host-key") as caught:
        ssh.connect(sshd.target(known_hosts=known))
    assert f"{known}:2" in str(caught.value)
    assert f"ssh-keygen -f {known} -R '[127.0.0.1]:{sshd.port}'" in str(caught.value)


def test_one_of_two_known_keys_is_accepted(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(another_key(sshd, tmp_path) + sshd.known_hosts.read_text())
    ssh.connect(sshd.target(known_hosts=known)).close()


def test_revoked_host_key(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"@revoked {sshd.known_hosts.read_text()}{sshd.known_hosts.read_text()}")
    with failing("host-key-revoked", "host-key"):
        ssh.connect(sshd.target(known_hosts=known))


def test_wrong_key(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    key = key_pair(tmp_path / "other")
    with failing("auth-failed", "auth-failed") as caught:
        ssh.connect(sshd.target(key_file=key))
    assert f"login as {sshd.user} refused, tried key {key}" in str(caught.value)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_key_with_a_passphrase(ssh: Transport, sshd: Sshd, tmp_path: Path, kind: str, by_openssh: bool) -> None:
    key = key_pair(tmp_path / "locked", kind=kind, passphrase="secret")
    # `ssh` offers the public key before it needs the private one, and this host refuses the public key.
    with failing("auth-failed" if by_openssh else "key-passphrase", "auth-failed"):
        ssh.connect(sshd.target(key_file=key))


def test_unusable_key_files(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    with failing("key-missing", "auth-failed") as caught:
        ssh.connect(sshd.target(key_file=tmp_path / "none"))
    assert str(tmp_path / "none") in str(caught.value)
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnot really\n")
    junk.chmod(0o600)
    with failing("key-invalid", "auth-failed"):
        ssh.connect(sshd.target(key_file=junk))
    with failing("key-unreadable", "auth-failed"):
        ssh.connect(sshd.target(key_file=tmp_path))


def test_key_that_other_users_can_read(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    key = tmp_path / "open"
    shutil.copy(sshd.key_file, key)
    key.chmod(0o644)
    with failing("key-permissions", "auth-failed"):
        ssh.connect(sshd.target(key_file=key))


def test_no_credentials(ssh: Transport, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with failing("auth-nothing", "auth-failed"):
        ssh.connect(sshd.target(key_file=None))


def test_sshd_refuses_sessions(ssh: Transport, directory: Path, user: Account) -> None:
    with (
        running_sshd(directory / "sessions", user.name, "MaxSessions 0") as server,
        closing(ssh.connect(server.target())) as connection,
        failing("session-refused", "unreachable"),
    ):
        connection.start(b"true", LIMITS)


def test_failed_login_prints_nothing(
    ssh: Transport, sshd: Sshd, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with listener(lambda link: link.sendall(b"220 mail\r\n" * 200)) as port, failing("not-ssh"):
        ssh.connect(sshd.target(port=port, connect_timeout=1.0))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
