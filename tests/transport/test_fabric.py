"""Both SSH transports with a real sshd: streams, bounds, ways to log in, many hosts at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.transport.fabric.transport import SshTransport
from fleettrace.transport.interface import Limits, Stream, Transport
from fleettrace.transport.session import READ_SIZE
from tests.transport.running import LIMITS, failing, output, run, status
from tests.transport.sshd import Account, Sshd, account, key_pair, running_sshd

pytestmark = pytest.mark.lab


def test_returns_bytes_and_the_exit_status(ssh: Transport, sshd: Sshd) -> None:
    script = b"printf 'a\\0\\377\\r\\n\\n'; printf 'e\\0' >&2; exit 9"
    assert run(ssh, sshd.target(), script) == (b"a\0\xff\r\n\n", b"e\0", 9)


def test_script_ends_by_a_signal(ssh: Transport, sshd: Sshd) -> None:
    out, _, status = run(ssh, sshd.target(), b"echo a; kill -9 $$")
    # A login shell that waits for its command turns the signal into a status.
    assert (out, status in (None, 128 + 9)) == (b"a\n", True)


def test_chunks_are_small_and_complete(ssh: Transport, sshd: Sshd) -> None:
    with closing(ssh.connect(sshd.target())) as connection:
        script = b"head -c 5000003 /dev/zero & head -c 5000003 /dev/zero >&2; wait"
        chunks = list(connection.start(script, LIMITS))
    assert max(len(chunk.data) for chunk in chunks) <= READ_SIZE
    assert {stream: len(data) for stream, data in output(chunks).items()} == {Stream.OUT: 5000003, Stream.ERR: 5000003}


def test_standard_input_stays_open_until_stop(ssh: Transport, sshd: Sshd) -> None:
    with closing(ssh.connect(sshd.target())) as connection:
        execution = connection.start(b"echo first; cat >/dev/null; echo last; exit 4", LIMITS)
        chunks = iter(execution)
        assert next(chunks).data == b"first\n"
        assert status(execution) is None
        threading.Timer(0.2, execution.stop).start()
        assert output(chunks)[Stream.OUT] == b"last\n"
        assert status(execution) == 4
        execution.stop()


def test_one_connection_runs_scripts_concurrently(ssh: Transport, sshd: Sshd) -> None:
    with closing(ssh.connect(sshd.target())) as connection:
        waiting = connection.start(b"cat; echo done", LIMITS)
        assert output(connection.start(b"echo meanwhile", LIMITS))[Stream.OUT] == b"meanwhile\n"
        waiting.stop()
        assert output(waiting)[Stream.OUT] == b"done\n"


def test_limits_end_a_script_but_not_the_connection(ssh: Transport, sshd: Sshd) -> None:
    with closing(ssh.connect(sshd.target())) as connection:
        started = time.monotonic()
        with failing("script-timeout", "timeout"):
            list(connection.start(b"sleep 60", Limits(1.5, 1000)))
        with failing("script-timeout", "timeout"):
            list(connection.start(b"yes", Limits(1.5, 1 << 60)))
        with failing("output-limit", "trace-failed"):
            list(connection.start(b"yes", Limits(30, 200_000)))
        assert time.monotonic() - started < 10
        assert output(connection.start(b"echo still here", LIMITS))[Stream.OUT] == b"still here\n"


def test_output_that_arrived_in_time_is_read_late(sshd: Sshd) -> None:
    transport = SshTransport()
    with closing(transport), closing(transport.connect(sshd.target())) as connection:
        execution = connection.start(b"head -c 100003 /dev/zero; exit 4", Limits(1.0, 1 << 20))
        time.sleep(1.5)
        assert len(output(execution)[Stream.OUT]) == 100003
        assert status(execution) == 4


def test_close_ends_the_iteration_of_another_thread(ssh: Transport, sshd: Sshd) -> None:
    with closing(ssh.connect(sshd.target())) as connection:
        execution = connection.start(b"cat", LIMITS)
        threading.Timer(0.2, execution.close).start()
        with failing("closed", "interrupted"):
            list(execution)
        execution = connection.start(b"cat", LIMITS)
        threading.Timer(0.2, connection.close).start()
        with failing("closed", "interrupted"):
            list(execution)


def test_closing_the_connection_ends_standard_input(ssh: Transport, sshd: Sshd, own_directory: Path) -> None:
    mark = own_directory / "ended"
    connection = ssh.connect(sshd.target("web1", user="root"))
    execution = connection.start(f"echo up; cat >/dev/null; echo x >{mark}".encode(), LIMITS)
    next(iter(execution))
    connection.close()
    deadline = time.monotonic() + 5
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert mark.exists()


def test_broken_connection_is_reported(ssh: Transport, directory: Path, user: Account) -> None:
    with running_sshd(directory / "cut", user.name) as server, closing(ssh.connect(server.target())) as connection:
        execution = connection.start(b"echo up; cat", LIMITS)
        chunks = iter(execution)
        assert next(chunks).data == b"up\n"
        server.cut()
        with failing("connection-lost", "unreachable"):
            next(chunks)
        assert execution.exit_status is None
        with failing("connection-lost", "unreachable"):
            connection.start(b"true", LIMITS)


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh", "fish", "csh", "rbash"])
def test_login_shells(ssh: Transport, sshd: Sshd, shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    with account(f"ftt{os.getpid()}s", shell=path) as other:
        assert run(ssh, sshd.target(user=other.name), b"echo $((6 * 7))") == (b"42\n", b"", 0)


def test_noise_of_a_login_shell_is_skipped(ssh: Transport, sshd: Sshd) -> None:
    with account(f"ftt{os.getpid()}n", shell="/bin/bash") as other:
        rc = other.home / ".bashrc"
        rc.write_text("echo welcome; echo oops >&2; printf 'no newline'\n")
        assert run(ssh, sshd.target(user=other.name), b"echo hi; echo ho >&2") == (b"hi\n", b"ho\n", 0)
        rc.write_text("yes | head -c 200000\n")
        with failing("shell-noise", "unreachable"):
            run(ssh, sshd.target(user=other.name), b"echo hi")


def test_account_without_a_shell(ssh: Transport, sshd: Sshd) -> None:
    with account(f"ftt{os.getpid()}x", shell="/usr/sbin/nologin") as other, failing("account-nologin"):
        run(ssh, sshd.target(user=other.name), b"echo hi")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("agent")
class TestWithAnAgent:
    def test_its_keys_are_tried(self, ssh: Transport, sshd: Sshd) -> None:
        subprocess.run(["ssh-add", "-q", sshd.key_file], check=True)
        assert run(ssh, sshd.target(key_file=None), b"echo hi")[0] == b"hi\n"

    def test_it_holds_a_key_with_a_passphrase(self, ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
        locked = tmp_path / "locked"
        shutil.copy(sshd.key_file, locked)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret phrase", "-f", locked], check=True, capture_output=True)
        with failing("key-passphrase", "auth-failed"):
            ssh.connect(sshd.target(key_file=locked))
        subprocess.run(["ssh-add", "-q", sshd.key_file], check=True)
        assert run(ssh, sshd.target(key_file=locked), b"echo hi")[0] == b"hi\n"

    def test_identities_only_disables_it(self, ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
        subprocess.run(["ssh-add", "-q", sshd.key_file], check=True)
        config = tmp_path / "config"
        config.write_text(f"IdentitiesOnly yes\nIdentityFile {tmp_path}/none\n")
        with failing("auth-nothing", "auth-failed"):
            ssh.connect(sshd.target(key_file=None, ssh_config=config))


def test_login_by_ssh_config_alone(ssh: Transport, sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host web1\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n"
        f" IdentityFile {sshd.key_file}\n UserKnownHostsFile {sshd.known_hosts}\n"
    )
    bare = replace(sshd.target(ssh_config=config), address=None, port=None, user=None, key_file=None, known_hosts=None)
    assert run(ssh, bare, b"id -un") == (f"{sshd.user}\n".encode(), b"", 0)


def test_certificate_beside_the_key(ssh: Transport, directory: Path, user: Account, tmp_path: Path) -> None:
    authority, key = key_pair(tmp_path / "authority"), key_pair(tmp_path / "key")
    with running_sshd(directory / "ca", user.name, f"TrustedUserCAKeys {authority}.pub") as server:
        with failing("auth-failed", "auth-failed"):
            ssh.connect(server.target(key_file=key))
        signed = ["-s", str(authority), "-I", "test", "-n", user.name, f"{key}.pub"]
        subprocess.run(["ssh-keygen", "-q", *signed], check=True)
        # A key is read once a run, so a new run sees the certificate.
        with closing(type(ssh)()) as later:
            assert run(later, server.target(key_file=key), b"echo hi")[0] == b"hi\n"


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_keys(ssh: Transport, directory: Path, user: Account, tmp_path: Path, kind: str) -> None:
    key = key_pair(tmp_path / "key", kind=kind)
    with running_sshd(directory / kind, user.name, f"HostKey {key}") as server:
        (server.directory / "authorized_keys").write_text(Path(f"{key}.pub").read_text())
        server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {Path(f'{key}.pub').read_text()}")
        assert run(ssh, server.target(key_file=key), b"echo hi")[0] == b"hi\n"


def test_login_by_password(ssh: Transport, directory: Path) -> None:
    with (
        account(f"ftt{os.getpid()}p", password="s3cret word") as other,
        running_sshd(directory / "password", other.name, "PasswordAuthentication yes") as server,
    ):
        assert run(ssh, server.target(key_file=None, password="s3cret word"), b"echo hi")[0] == b"hi\n"
        with failing("auth-failed", "auth-failed") as caught:
            ssh.connect(server.target(key_file=None, password="wr0ng word"))
    assert "wr0ng" not in repr(caught.value)
    assert "tried the password" in str(caught.value)


def test_fifty_hosts_at_once(ssh: Transport, sshd: Sshd) -> None:
    def one(number: int) -> tuple[bytes, bytes, int | None]:
        return run(ssh, sshd.target(f"web{number}"), f"echo {number}; head -c 40000 /dev/zero >&2".encode())

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(one, range(50)))
    assert results == [(f"{number}\n".encode(), bytes(40000), 0) for number in range(50)]


def test_fabric_is_imported_with_the_first_connection() -> None:
    code = (
        "import sys, fleettrace.transport.fabric.transport as s, fleettrace.transport.local.transport; "
        "s.SshTransport().close(); "
        "print({'fabric', 'paramiko', 'invoke', 'cryptography'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
