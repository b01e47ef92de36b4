"""Accounts that run no command are told apart from sudo, and a login's environment changes no script."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from fleettrace.transport.interface import Become, Transport
from tests.transport.running import failing, run
from tests.transport.sshd import Account, Sshd, account, running_sshd

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed"),
]

RULE = "USER ALL=(ALL) NOPASSWD: ALL"
KEPT = (
    "TMOUT BASH_ENV ENV SHELLOPTS PS4 QUOTING_STYLE BPFTRACE_STRLEN BPFTRACE_NEW_ONE PERL5OPT GREP_OPTIONS LC_ALL IFS"
)
HOSTILE = {
    "TMOUT": "1",
    "BASH_ENV": "/nowhere/env",
    "ENV": "/nowhere/env",
    "SHELLOPTS": "xtrace:noglob",
    "PS4": "$(echo pwned >&2)+ ",
    "IFS": "e",
    "QUOTING_STYLE": "c",
    "GREP_OPTIONS": "-v",
    "PERL5OPT": "-Mnowhere",
    "LC_ALL": "xx_YY.bogus",
    "POSIXLY_CORRECT": "1",
    "BPFTRACE_STRLEN": "3",
    "BPFTRACE_NEW_ONE": "[fleettrace-sudo]",
}
REPORT = b"""id -u; sleep 1.2
for v in TMOUT BASH_ENV ENV QUOTING_STYLE GREP_OPTIONS PERL5OPT BPFTRACE_STRLEN BPFTRACE_NEW_ONE; do
    eval "set -- \\${$v-}"; [ -z "$*" ] || echo "$v=$*"
done
echo "$LC_ALL"
"""


@pytest.fixture(scope="module")
def login() -> Iterator[Account]:
    rules = f'Defaults:USER env_keep += "{KEPT}"\n{RULE}'
    with account(f"ftt{os.getpid()}a", shell="/bin/bash", sudo=rules) as made:
        yield made


@pytest.fixture(scope="module")
def server(folder: Path, login: Account) -> Iterator[Sshd]:
    with running_sshd(folder / "accounts", login.name, "PermitUserEnvironment yes") as started:
        yield started


FORCED = {
    "ForceCommand internal-sftp": "account-sftp-only",
    "ForceCommand /bin/sh": "forced-command",
    'ForceCommand script -qec "$SSH_ORIGINAL_COMMAND" /dev/null': "shell-terminal",
    "ForceCommand echo recorded": "shell-failed",
}
WAYS = {"plain": None, "sudo": Become(), "password": Become("x")}
# With a password a shell is given no script before the prompt, which this one never shows: it is given up after 30 s.
SLOW = ("ForceCommand /bin/sh", "password")


@pytest.mark.parametrize(("lines", "way"), [case for case in product(FORCED, WAYS) if case != SLOW])
def test_a_forced_command_is_not_blamed_on_sudo(
    ssh: Transport, place: Path, login: Account, lines: str, way: str
) -> None:
    with running_sshd(place, login.name, lines) as started, failing(FORCED[lines], "unreachable"):
        run(ssh, started.target(become=WAYS[way]), b"id -u")


@pytest.mark.parametrize("become", [None, Become()], ids=["plain", "sudo"])
def test_an_account_with_nologin_is_not_blamed_on_sudo(ssh: Transport, sshd: Sshd, become: Become | None) -> None:
    with account(f"ftt{os.getpid()}x", shell="/usr/sbin/nologin") as other, failing("account-nologin", "unreachable"):
        run(ssh, sshd.target(user=other.name, become=become), b"id -u")


@pytest.mark.parametrize("become", [None, Become()], ids=["plain", "sudo"])
def test_an_expired_password_is_not_blamed_on_sudo(ssh: Transport, place: Path, become: Become | None) -> None:
    with account(f"ftt{os.getpid()}e", password="expired w0rd", sudo=RULE) as other:
        subprocess.run(["chage", "-d", "0", other.name], check=True)
        with running_sshd(place, other.name, "UsePAM yes") as started, failing("account-expired", "unreachable"):
            run(ssh, started.target(become=become), b"id -u")


@pytest.mark.parametrize("rc", ["", "set -x\n", "set -xv; echo hi; echo '[fleettrace-sudo]' >&2\n"])
@pytest.mark.parametrize("become", [None, Become(), Become("x")], ids=["plain", "sudo", "password"])
def test_a_logins_environment_changes_nothing(
    ssh: Transport, server: Sshd, login: Account, rc: str, become: Become | None
) -> None:
    environment = login.home / ".ssh/environment"
    environment.parent.mkdir(exist_ok=True)
    environment.write_text("".join(f"{name}={value}\n" for name, value in HOSTILE.items()))
    (login.home / ".bashrc").write_text(rc)
    out, err, status = run(ssh, server.target(become=become), REPORT)
    uid = subprocess.run(["id", "-u", login.name], capture_output=True, text=True, check=True).stdout.strip()
    assert out.decode().splitlines()[:2] == ["0" if become else uid, "C"]
    assert (err, status) == (b"", 0)
