"""The catalogues of transport failures: stable codes, one entry for each, messages in one line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fleettrace.transport
from fleettrace.errors import FailureCatalogue, HostError, HostState
from fleettrace.transport.exhaustion import ExhaustedResource
from fleettrace.transport.script_errors import BecomeFailure, ScriptFailure, ShellFailure
from fleettrace.transport.ssh_errors import SshFailure, auth_failed, host_key_changed, host_key_unknown, on_bastion

CATALOGUES = (SshFailure, ShellFailure, BecomeFailure, ScriptFailure, ExhaustedResource)
FAILURES: list[FailureCatalogue] = [failure for catalogue in CATALOGUES for failure in catalogue]

CODES = """
account-expired account-nologin account-sftp-only address-refused askpass-failed auth-failed auth-nothing auth-timeout
banner-closed banner-timeout bastion-forbids bastion-lost bastion-no-answer bastion-no-route bastion-timeout
become-failed become-needs-tty become-not-installed become-password-required become-refused become-timeout
become-wrong-password closed connect-failed connect-timeout connection-closed connection-lost connection-refused
dns-failed dns-timeout exec-refused forced-command host-key-changed host-key-refused host-key-revoked host-key-unknown
host-key-unsaved kex-timeout key-invalid key-missing key-passphrase key-permissions key-unreadable no-common-algorithm
no-route no-ssh not-ssh openssh-failed out-of-memory output-limit proxy-command-failed script-timeout session-refused
session-timeout shell-failed shell-noise shell-terminal shell-timeout ssh-config ssh-failed too-many-files
too-many-processes
"""


def test_codes_are_the_contract() -> None:
    assert sorted(failure.code for failure in FAILURES) == CODES.split()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.code)
def test_every_entry_has_meaning_and_cure(failure: FailureCatalogue) -> None:
    error = failure.error()
    assert (error.state, error.code) == (failure.state, failure.code)
    assert error.message == f"{failure.meaning}: {failure.cure}"
    assert error.message.isprintable()
    assert len(error.message) < 200


def test_details_replace_meaning_and_cure() -> None:
    assert SshFailure.NO_ROUTE.error("this failed", "do that").message == "this failed: do that"


def test_transports_raise_catalogued_errors_only() -> None:
    paths = Path(fleettrace.transport.__file__).parent.rglob("*.py")
    made = {
        path.name
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "HostError"
    }
    # These copy an error: with another state, for another thread, or as a bastion's.
    assert made == {"exhaustion.py", "keys.py", "ssh_errors.py"}


def test_on_bastion_prefixes_the_code_once() -> None:
    first = on_bastion("bastion a", HostError(HostState.AUTH_FAILED, "auth-failed", "no"))
    assert (first.state, first.code, first.message) == (HostState.AUTH_FAILED, "bastion-auth-failed", "bastion a: no")
    assert on_bastion("bastion b", first).code == "bastion-auth-failed"


def test_auth_failed_names_what_was_tried() -> None:
    error = auth_failed("ops", ["key /k", "the password"], ["publickey"], closed=True)
    assert error.message.startswith(
        "login as ops refused, tried key /k, the password; it accepts publickey; then it closed the connection"
    )


def test_host_key_cures_are_commands() -> None:
    assert "`ssh-keyscan -p 2222 h >> /k`" in host_key_unknown("ssh-ed25519 SHA256:x", "/k", "h", 2222).message
    assert "`ssh-keyscan h >> /k`" in host_key_unknown("ssh-ed25519 SHA256:x", "/k", "h", 22).message
    assert (
        "`ssh-keygen -f /k -R 'h'`" in host_key_changed("ssh-ed25519 SHA256:x", "/k:1 has another", "/k", "h").message
    )
    assert "known_hosts" in host_key_changed("ssh-ed25519 SHA256:x", "known_hosts has another", "", "").message
