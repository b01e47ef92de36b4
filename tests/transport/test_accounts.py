"""Accounts that run no command, and login environments that must not change a script."""

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
ENV_KEEP = (
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
    rules = f'Defaults:USER env_keep += "{ENV_KEEP}"\n{RULE}'
    with account(f"ftt{os.getpid()}a", shell="/bin/bash", sudo=rules) as made:
        yield made


@pytest.fixture(scope="module")
def server(directory: Path, login: Account) -> Iterator[Sshd]:
    with running_sshd(directory / "accounts", login.name, "PermitUserEnvironment yes") as started:
        yield started


FORCED = {
    "ForceCommand internal-sftp": "account-sftp-only",
    "ForceCommand /bin/sh": "forced-command",
    'ForceCommand script -qec "$SSH_ORIGINAL_COMMAND" /dev/null': "shell-terminal",
    "ForceCommand echo recorded": "shell-failed",
}
BECOME = {"plain": None, "sudo": Become(), "password": Become(password="x")}
# With a password, the script is sent after sudo's prompt, which never comes here: this case would take 30 s.
SLOW = ("ForceCommand /bin/sh", "password")


@pytest.mark.parametrize(("lines", "become"), [case for case in product(FORCED, BECOME) if case != SLOW])
def test_forced_command(ssh: Transport, own_directory: Path, login: Account, lines: str, become: str) -> None:
    with running_sshd(own_directory, login.name, lines) as started, failing(FORCED[lines], "unreachable"):
        run(ssh, started.target(become=BECOME[become]), b"id -u")


@pytest.mark.parametrize("become", [None, Become()], ids=["plain", "sudo"])
def test_nologin(ssh: Transport, sshd: Sshd, become: Become | None) -> None:
    with account(f"ftt{os.getpid()}x", shell="/usr/sbin/nologin") as other, failing("account-nologin", "unreachable"):
        run(ssh, sshd.target(user=other.name, become=become), b"id -u")


@pytest.mark.parametrize("become", [None, Become()], ids=["plain", "sudo"])
def test_expired_password(ssh: Transport, own_directory: Path, become: Become | None) -> None:
    with account(f"ftt{os.getpid()}e", password="expired w0rd", sudo=RULE) as other:
        subprocess.run(["chage", "-d", "0", other.name], check=True)
        with (
            running_sshd(own_directory, other.name, "UsePAM yes") as started,
            failing("account-expired", "unreachable"),
        ):
            run(ssh, started.target(become=become), b"id -u")


@pytest.mark.parametrize("rc", ["", "set -x\n", "set -xv; echo hi; echo '[fleettrace-sudo]' >&2\n"])
@pytest.mark.parametrize("become", [None, Become(), Become(password="x")], ids=["plain", "sudo", "password"])
def test_login_environment_is_cleaned(
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
