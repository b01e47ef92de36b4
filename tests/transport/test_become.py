"""Becoming root with real sudo and sudoers."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fleettrace.transport.interface import Become, Stream, Transport
from tests.transport.running import LIMITS, failing, output, run
from tests.transport.sshd import Account, Sshd, account

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed"),
]

SECRET = "s3cret w'ord"
ANYTHING = "USER ALL=(ALL) NOPASSWD: ALL"
WITH_PASSWORD = "USER ALL=(ALL) ALL"
SCRIPT = b"id -u; printf 'a\\0\\r\\n'; echo e >&2; cat; echo end"


@contextmanager
def sudoer(rule: str | None) -> Iterator[Account]:
    with account(f"ftt{os.getpid()}r", password=SECRET, sudo=rule) as made:
        yield made


@contextmanager
def watched() -> Iterator[set[bytes]]:
    """Collect the command lines of every process while the block runs."""
    seen: set[bytes] = set()
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.005):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("rule", "password"),
    [
        (ANYTHING, None),
        (ANYTHING, SECRET),
        (WITH_PASSWORD, SECRET),
        (f"Defaults:USER use_pty\n{ANYTHING}", None),
        (f"Defaults:USER use_pty\n{WITH_PASSWORD}", SECRET),
    ],
)
def test_scripts_run_as_root(ssh: Transport, sshd: Sshd, rule: str, password: str | None) -> None:
    with sudoer(rule) as user, watched() as seen:
        target = sshd.target(user=user.name, become=Become(password=password))
        with closing(ssh.connect(target)) as connection:
            execution = connection.start(SCRIPT, LIMITS)
            threading.Timer(0.3, execution.stop).start()
            printed = output(execution)
    assert printed == {Stream.OUT: b"0\na\0\r\nend\n", Stream.ERR: b"e\n"}
    assert execution.exit_status == 0
    assert any(b"fleettrace-ready" in line for line in seen)
    assert not any(SECRET.encode() in line for line in seen)


def test_scripts_run_as_the_user_without_become(ssh: Transport, sshd: Sshd, user: Account) -> None:
    assert run(ssh, sshd.target(), b"id -un") == (f"{user.name}\n".encode(), b"", 0)


def test_root_needs_no_sudo(ssh: Transport, sshd: Sshd) -> None:
    target = sshd.target(user="root", become=Become(password=SECRET))
    assert run(ssh, target, b'echo "${SUDO_USER:-unset}"') == (b"unset\n", b"", 0)


def test_wrong_password(ssh: Transport, sshd: Sshd) -> None:
    with sudoer(WITH_PASSWORD) as user, failing("become-wrong-password", "become-failed") as caught:
        run(ssh, sshd.target(user=user.name, become=Become(password="wr0ng")), b"id")
    assert "wr0ng" not in repr(caught.value) + str(caught.value.__cause__) + str(caught.value.__context__)


def test_missing_password(ssh: Transport, sshd: Sshd) -> None:
    with sudoer(WITH_PASSWORD) as user, failing("become-password-required", "become-failed") as caught:
        run(ssh, sshd.target(user=user.name, become=Become()), b"id")
    assert "ansible_become_password" in str(caught.value)


def test_user_without_sudoers_rule(ssh: Transport, sshd: Sshd) -> None:
    with sudoer(None) as user, failing("become-refused", "become-failed"):
        run(ssh, sshd.target(user=user.name, become=Become(password=SECRET)), b"id")


def test_user_with_another_sudoers_rule(ssh: Transport, sshd: Sshd) -> None:
    with sudoer("USER ALL=(ALL) /bin/true") as user, failing("become-refused", "become-failed"):
        run(ssh, sshd.target(user=user.name, become=Become(password=SECRET)), b"id")


def test_sudo_that_requires_a_terminal(ssh: Transport, sshd: Sshd) -> None:
    with sudoer(f"Defaults:USER requiretty\n{ANYTHING}") as user, failing("become-needs-tty", "become-failed"):
        run(ssh, sshd.target(user=user.name, become=Become()), b"id")


def test_host_without_sudo(ssh: Transport, sshd: Sshd, own_directory: Path) -> None:
    tools = own_directory / "tools"
    tools.mkdir()
    for name in ("sh", "id"):
        (tools / name).symlink_to(shutil.which(name) or name)
    with account(f"ftt{os.getpid()}m", shell="/bin/bash") as user:
        (user.home / ".bashrc").write_text(f"PATH={tools}\n")
        with failing("become-not-installed", "become-failed"):
            run(ssh, sshd.target(user=user.name, become=Become()), b"id")


def test_closed_connection_ends_root_scripts(ssh: Transport, sshd: Sshd, own_directory: Path) -> None:
    mark = own_directory / "root-ended"
    with sudoer(f"Defaults:USER use_pty\n{ANYTHING}") as user:
        connection = ssh.connect(sshd.target(user=user.name, become=Become()))
        next(iter(connection.start(f"echo up; cat >/dev/null; id -u >{mark}".encode(), LIMITS)))
        connection.close()
        deadline = time.monotonic() + 5
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert mark.exists()
