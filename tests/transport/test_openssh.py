"""The transport `openssh` alone. `test_fabric*.py` tests what both SSH transports do."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleettrace.errors import HostError
from fleettrace.transport.interface import HostKeyPolicy
from fleettrace.transport.openssh.transport import OpenSshTransport
from tests.e2e.secret_watch import Watch
from tests.transport.openssh_remains import private_directory, remains, users_of
from tests.transport.running import LIMITS, failing, run
from tests.transport.sshd import Account, Sshd, account, key_pair, running_sshd

pytestmark = pytest.mark.lab

PASSWORD = "s3cret 'word\" $HOME"


@pytest.fixture
def openssh() -> Iterator[OpenSshTransport]:
    with closing(OpenSshTransport()) as transport:
        yield transport


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config"
    path.write_text(text)
    return path


def test_scripts_share_one_login(openssh: OpenSshTransport, sshd: Sshd) -> None:
    before = sshd.logins()
    with closing(openssh.connect(sshd.target())) as connection:
        for _ in range(3):
            list(connection.start(b"true", LIMITS))
    assert sshd.logins() == before + 1


def test_status_255_is_the_scripts(openssh: OpenSshTransport, sshd: Sshd) -> None:
    assert run(openssh, sshd.target(), b"exit 255") == (b"", b"", 255)


def test_killed_ssh_is_a_broken_connection(openssh: OpenSshTransport, sshd: Sshd) -> None:
    with closing(openssh.connect(sshd.target())) as connection:
        execution = connection.start(b"echo up; cat", LIMITS)
        next(iter(execution))
        subprocess.run(["pkill", "-KILL", "-P", str(os.getpid()), "-x", "ssh"], check=True)
        with failing("connection-lost", "unreachable"):
            list(execution)


def test_directory_is_private_with_short_socket_names(openssh: OpenSshTransport, sshd: Sshd) -> None:
    with closing(openssh.connect(sshd.target())):
        directory = private_directory(os.getpid())
        [socket] = directory.glob("s*")
        assert directory.stat().st_mode & 0o777 == 0o700
        # ssh creates it with a name that is 17 letters longer; unix(7) allows 108 bytes.
        assert len(str(socket)) < 60
    openssh.close()
    assert not directory.exists()
    assert remains(os.getpid()) == []


def test_host_certificate_is_accepted(
    openssh: OpenSshTransport, directory: Path, user: Account, tmp_path: Path
) -> None:
    authority, host_key = key_pair(tmp_path / "authority"), key_pair(tmp_path / "signed")
    signed = ["-s", str(authority), "-I", "host", "-h", "-n", "127.0.0.1", f"{host_key}.pub"]
    subprocess.run(["ssh-keygen", "-q", *signed], check=True)
    lines = (f"HostKey {host_key}", f"HostCertificate {host_key}-cert.pub")
    known = tmp_path / "known_hosts"
    known.write_text(f"@cert-authority * {Path(f'{authority}.pub').read_text()}")
    with running_sshd(directory / "signed", user.name, *lines) as server:
        assert run(openssh, server.target(known_hosts=known), b"echo hi")[0] == b"hi\n"


def test_control_master_of_a_bastion_is_used(
    openssh: OpenSshTransport, directory: Path, user: Account, sshd: Sshd, tmp_path: Path
) -> None:
    with running_sshd(directory / "shared", user.name) as bastion:
        known = tmp_path / "known_hosts"
        known.write_text(bastion.known_hosts.read_text() + sshd.known_hosts.read_text())
        control = directory / "shared" / "control"
        path = config(
            tmp_path,
            f"Host jump\n HostName 127.0.0.1\n Port {bastion.port}\n User {bastion.user}\n"
            f" IdentityFile {bastion.key_file}\n ControlMaster auto\n ControlPath {control}\n ControlPersist 60\n",
        )
        target = sshd.target(ssh_arguments=("-J", "jump"), ssh_config=path, known_hosts=known)
        try:
            openssh.connect(target).close()
            with ThreadPoolExecutor(8) as pool:
                done = list(pool.map(lambda _: run(openssh, target, b"echo hi")[0], range(8)))
            assert done == [b"hi\n"] * 8
            assert bastion.logins() == 1
        finally:
            subprocess.run(["ssh", "-F", path, "-O", "exit", "jump"], capture_output=True, check=False)


def test_interactive_options_of_a_site_are_ignored(openssh: OpenSshTransport, sshd: Sshd, tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "Host *\n RequestTTY force\n RemoteCommand sleep 60\n LocalForward 127.0.0.1:1 127.0.0.1:2\n"
        f" ExitOnForwardFailure yes\n ControlMaster no\n ControlPath {tmp_path}/theirs\n ControlPersist 60\n"
        " LogLevel QUIET\n",
    )
    assert run(openssh, sshd.target(ssh_config=path), b"tty; echo hi") == (b"not a tty\nhi\n", b"", 0)
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize("address", ["-oProxyCommand=touch MARK", "$(touch MARK)", "a;touch MARK", "ssh://a", "a b"])
def test_addresses_for_a_shell_are_refused(openssh: OpenSshTransport, sshd: Sshd, tmp_path: Path, address: str) -> None:
    mark = tmp_path / "mark"
    path = config(tmp_path, "Host *\n ProxyCommand echo %h %r >/dev/null\n")
    address = address.replace("MARK", str(mark))
    changes: list[dict[str, Any]] = [{"address": address}, {"ssh_arguments": ("-J", address.replace("ssh://", "$"))}]
    if address != "ssh://a":
        changes.append({"user": address})
    for change in changes:
        with failing("address-refused", "unreachable"):
            openssh.connect(sshd.target(ssh_config=path, **change))
    assert not mark.exists()


def test_faulty_ssh_config_is_named(openssh: OpenSshTransport, sshd: Sshd, tmp_path: Path) -> None:
    path = config(tmp_path, "Host *\n Prot 22\n")
    with failing("ssh-config", "unreachable") as caught:
        openssh.connect(sshd.target(ssh_config=path))
    assert f"{path}: line 2: Bad configuration option: prot" in str(caught.value)
    assert str(caught.value).count("correct it") == 1
    with failing("ssh-config", "unreachable") as caught:
        openssh.connect(sshd.target(ssh_config=tmp_path / "none"))
    assert str(tmp_path / "none") in str(caught.value)


def test_paths_are_quoted_in_the_configuration(openssh: OpenSshTransport, sshd: Sshd, tmp_path: Path) -> None:
    odd = tmp_path / 'a "b" %h'
    odd.mkdir()
    key, known, path = odd / "key", odd / "known", odd / "config"
    shutil.copy(sshd.key_file, key)
    shutil.copy(sshd.known_hosts, known)
    path.write_text(f"Host *\n User {sshd.user}\n")
    target = sshd.target(key_file=key, known_hosts=known, ssh_config=path, user=None)
    assert run(openssh, target, b"echo hi")[0] == b"hi\n"


def test_controller_without_ssh(
    openssh: OpenSshTransport, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with failing("no-ssh", "unreachable"):
        openssh.connect(sshd.target())


def test_exhausted_descriptors_are_reported(openssh: OpenSshTransport, sshd: Sshd) -> None:
    with closing(openssh.connect(sshd.target())) as connection:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        try:
            for spare in range(1, 9):
                resource.setrlimit(resource.RLIMIT_NOFILE, (free + spare, before[1]))
                for begin in (lambda: connection.start(b"true", LIMITS), lambda: openssh.connect(sshd.target())):
                    try:
                        begin().close()
                    except HostError as error:
                        assert error.code == "too-many-files"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert next(iter(connection.start(b"echo hi", LIMITS))).data == b"hi\n"


@pytest.fixture
def by_password(directory: Path) -> Iterator[Sshd]:
    with (
        account(f"ftt{os.getpid()}w", password=PASSWORD) as other,
        running_sshd(directory / "askpass", other.name, "PasswordAuthentication yes") as server,
    ):
        yield server


def test_password_is_in_no_argument_environment_or_file(openssh: OpenSshTransport, by_password: Sshd) -> None:
    with Watch([PASSWORD]) as watch, closing(openssh.connect(by_password.target(key_file=None, password=PASSWORD))):
        directory = private_directory(os.getpid())
        assert not any(PASSWORD.encode() in path.read_bytes() for path in directory.glob("[ac]*"))
        assert list(directory.glob("a[0-9]*")) == []
    assert watch.samples > 0
    assert watch.leaks == []


def test_password_does_not_answer_for_a_passphrase(
    openssh: OpenSshTransport, by_password: Sshd, tmp_path: Path
) -> None:
    locked = key_pair(tmp_path / "locked", passphrase=PASSWORD)
    (by_password.directory / "authorized_keys").write_text(Path(f"{locked}.pub").read_text())
    # With its passphrase, the key would log in as well.
    with closing(openssh.connect(by_password.target(key_file=locked, password=PASSWORD))):
        assert "Accepted password" in by_password.log()


def test_accepted_key_with_a_passphrase(openssh: OpenSshTransport, by_password: Sshd, tmp_path: Path) -> None:
    locked = key_pair(tmp_path / "locked", passphrase=PASSWORD)
    (by_password.directory / "authorized_keys").write_text(Path(f"{locked}.pub").read_text())
    with failing("key-passphrase", "auth-failed"):
        openssh.connect(by_password.target(key_file=locked))


def test_bastion_does_not_get_the_hosts_password(
    openssh: OpenSshTransport, by_password: Sshd, sshd: Sshd, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(by_password.known_hosts.read_text() + sshd.known_hosts.read_text())
    path = config(tmp_path, f"Host jump\n HostName 127.0.0.1\n Port {by_password.port}\n User {by_password.user}\n")
    with failing("bastion-auth-failed", "auth-failed"):
        openssh.connect(
            sshd.target(ssh_arguments=("-J", "jump"), ssh_config=path, known_hosts=known, password=PASSWORD)
        )
    assert "Failed password" not in by_password.log()
    assert "Accepted" not in by_password.log()


def test_concurrent_logins_accept_a_new_host(openssh: OpenSshTransport, sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "new" / "known_hosts"
    target = sshd.target(known_hosts=known, host_key=HostKeyPolicy.ACCEPT_NEW)
    with ThreadPoolExecutor(4) as pool:
        assert [one[0] for one in pool.map(lambda _: run(openssh, target, b"echo hi"), range(4))] == [b"hi\n"] * 4
    assert len(set(known.read_text().splitlines())) == 1


def test_killed_controller_leaves_nothing(sshd: Sshd) -> None:
    target = sshd.target()
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom fleettrace.transport.interface import Target\n"
        "from fleettrace.transport.openssh.transport import OpenSshTransport\n"
        f"connection = OpenSshTransport().connect(Target('web1', '127.0.0.1', {target.port}, {target.user!r}, "
        f"Path({str(target.key_file)!r}), known_hosts=Path({str(target.known_hosts)!r})))\n"
        "print('in', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == b"in\n"
        directory = private_directory(controller.pid)
        controller.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (directory.exists() or users_of(directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not directory.exists()
    assert users_of(directory) == []
