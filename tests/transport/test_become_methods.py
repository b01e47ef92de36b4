"""Becoming another user by the methods beside sudo: real su and doas, and stand-ins for what is not to be had here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.transport.interface import Become, Transport
from tests.transport.running import failing, run
from tests.transport.sshd import Account, Sshd, account

pytestmark = pytest.mark.lab

SECRET = "s3cret w'ord"
SCRIPT = b"id -un; printf 'a\\0\\r\\n'; echo end"


@pytest.fixture
def tracer(ssh: Transport) -> Iterator[Account]:
    """The user that scripts become."""
    del ssh
    with account(f"ftt{os.getpid()}t", password=SECRET) as made:
        yield made


def became(ssh: Transport, sshd: Sshd, become: Become) -> None:
    """Check that a script runs as the user, with its bytes untouched."""
    assert run(ssh, sshd.target(become=become), SCRIPT) == (f"{become.user}\na\0\r\nend\n".encode(), b"", 0)


class TestSu:
    def test_password_of_the_user_opens_it(self, ssh: Transport, sshd: Sshd, tracer: Account) -> None:
        became(ssh, sshd, Become("su", tracer.name, password=SECRET))

    @pytest.mark.parametrize("flags", [("-",), ("-l", "-s", "/bin/bash")])
    def test_flags_are_handed_on(self, ssh: Transport, sshd: Sshd, tracer: Account, flags: tuple[str, ...]) -> None:
        become = Become("su", tracer.name, flags=flags, password=SECRET)
        printed, _, _ = run(ssh, sshd.target(become=become), b"echo $HOME")
        assert printed == f"{tracer.home}\n".encode()

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "csh", "dash"])
    def test_shell_of_the_user_may_be_any(self, ssh: Transport, sshd: Sshd, shell: str) -> None:
        path = shutil.which(shell)
        assert path is not None, f"{shell} is not installed"
        with account(f"ftt{os.getpid()}t", password=SECRET, shell=path) as made:
            became(ssh, sshd, Become("su", made.name, password=SECRET))

    def test_wrong_password(self, ssh: Transport, sshd: Sshd, tracer: Account) -> None:
        with failing("become-wrong-password", "become-failed") as caught:
            run(ssh, sshd.target(become=Become("su", tracer.name, password="wr0ng")), b"id")
        assert str(caught.value).startswith("su refused the password")
        assert "wr0ng" not in str(caught.value)

    def test_missing_password(self, ssh: Transport, sshd: Sshd, tracer: Account) -> None:
        with failing("become-password-required", "become-failed") as caught:
            run(ssh, sshd.target(become=Become("su", tracer.name)), b"id")
        assert "that user's password" in str(caught.value)

    def test_executable_may_be_a_command(self, ssh: Transport, sshd: Sshd, tracer: Account) -> None:
        with account(f"ftt{os.getpid()}r", sudo="USER ALL=(ALL) NOPASSWD: ALL") as user:
            target = sshd.target(user=user.name, become=Become("su", tracer.name, executable="sudo su -"))
            assert run(ssh, target, b"id -un") == (f"{tracer.name}\n".encode(), b"", 0)

    def test_user_who_logs_in_needs_no_method(self, ssh: Transport, sshd: Sshd, user: Account) -> None:
        become = Become("su", user.name, executable="/no/such/su", password=SECRET)
        assert run(ssh, sshd.target(become=become), b"id -un") == (f"{user.name}\n".encode(), b"", 0)


class TestDoas:
    @pytest.fixture(autouse=True)
    def rules(self) -> Iterator[Path]:
        """The file with doas's rules."""
        path = Path("/etc/doas.conf")
        before = path.read_bytes() if path.exists() else None
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            if before is not None:
                path.write_bytes(before)

    def test_rule_without_password_lets_root_run(self, ssh: Transport, sshd: Sshd, user: Account, rules: Path) -> None:
        rules.write_text(f"permit nopass {user.name} as root cmd sh\n")
        became(ssh, sshd, Become("doas"))

    def test_rule_with_password_names_the_cure(self, ssh: Transport, sshd: Sshd, user: Account, rules: Path) -> None:
        rules.write_text(f"permit {user.name}\n")
        for password in (None, SECRET):
            with failing("become-password-required", "become-failed") as caught:
                run(ssh, sshd.target(become=Become("doas", password=password)), b"id")
            assert "permit nopass USER" in str(caught.value)

    def test_user_without_a_rule(self, ssh: Transport, sshd: Sshd, rules: Path) -> None:
        rules.write_text("permit nopass root\n")
        with failing("become-refused", "become-failed") as caught:
            run(ssh, sshd.target(become=Become("doas")), b"id")
        assert str(caught.value).startswith("doas does not let")


# No Debian package has these; run0 needs systemd as process 1. Each stand-in takes the program's own command line.
DZDO = 'exec sudo "$@"'
PBRUN = """
[ "$1 $2" = "-u root" ] || exit 9
shift 2
printf 'Password:' >&2
IFS= read -r word || exit 8
[ "$word" = "s3cret w'ord" ] || { echo 'pbrun: Authentication failure' >&2; exit 1; }
exec sudo -n -- "$@"
"""
RUN0 = """
[ "$1" = --no-ask-password ] || exit 9
user=${2#--user=}
[ "$3" = -- ] || exit 9
shift 3
exec sudo -n -u "$user" -- "$@"
"""


@pytest.mark.parametrize(
    ("method", "script", "rule", "password"),
    [
        ("dzdo", DZDO, "USER ALL=(ALL) NOPASSWD: ALL", None),
        ("dzdo", DZDO, "USER ALL=(ALL) ALL", SECRET),
        ("pbrun", PBRUN, "USER ALL=(ALL) NOPASSWD: ALL", SECRET),
        ("run0", RUN0, "USER ALL=(ALL) NOPASSWD: ALL", None),
    ],
)
def test_command_line_is_the_methods_own(
    ssh: Transport, sshd: Sshd, own_directory: Path, method: str, script: str, rule: str, password: str | None
) -> None:
    program = own_directory / method
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    with account(f"ftt{os.getpid()}r", password=SECRET, sudo=rule) as user:
        become = Become(method, executable=str(program), password=password)
        target = sshd.target(user=user.name, become=become)
        assert run(ssh, target, SCRIPT) == (b"root\na\0\r\nend\n", b"", 0)


def test_refused_password_names_the_method(ssh: Transport, sshd: Sshd, own_directory: Path) -> None:
    program = own_directory / "pbrun"
    program.write_text(f"#!/bin/sh\n{PBRUN}")
    program.chmod(0o755)
    with failing("become-wrong-password", "become-failed") as caught:
        run(ssh, sshd.target(become=Become("pbrun", executable=str(program), password="wr0ng")), b"id")
    assert str(caught.value).startswith("pbrun refused the password")


@pytest.mark.parametrize("method", ["su", "sudo", "doas", "dzdo", "pbrun", "run0"])
def test_missing_program_is_named(ssh: Transport, sshd: Sshd, method: str) -> None:
    with failing("become-not-installed", "become-failed") as caught:
        run(ssh, sshd.target(become=Become(method, executable="/no/such/program", password=SECRET)), b"id")
    assert str(caught.value).startswith(f"{method} is not installed there")


@pytest.mark.parametrize("flags", [("-H", "-S", "-n"), ("-HSn",), ("-E",), ("-i",)])
def test_flags_of_sudo_do_not_hinder_the_password(ssh: Transport, sshd: Sshd, flags: tuple[str, ...]) -> None:
    with account(f"ftt{os.getpid()}r", password=SECRET, sudo="Defaults:USER setenv\nUSER ALL=(ALL) ALL") as user:
        target = sshd.target(user=user.name, become=Become(flags=flags, password=SECRET))
        assert run(ssh, target, SCRIPT) == (b"root\na\0\r\nend\n", b"", 0)
