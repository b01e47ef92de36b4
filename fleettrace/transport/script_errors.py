"""The catalogue of failures on a host that is logged in: the account, its shell, sudo, and the bounds of a script."""

from __future__ import annotations

from fleettrace.errors import FailureCatalogue, HostError, HostState

__all__ = ["BecomeFailure", "ScriptFailure", "ShellFailure", "output_limit", "script_timeout"]

_UNREACHABLE, _BECOME_FAILED = HostState.UNREACHABLE, HostState.BECOME_FAILED


class ShellFailure(FailureCatalogue):
    """An account that runs no script."""

    ACCOUNT_NOLOGIN = (
        "account-nologin",
        _UNREACHABLE,
        "the account's shell is nologin",
        "log in as one with a shell, or `usermod --shell /bin/sh` it",
    )
    ACCOUNT_EXPIRED = (
        "account-expired",
        _UNREACHABLE,
        "the account's password has expired, and sshd runs no command until it is changed",
        "change it, or `chage -d` it",
    )
    ACCOUNT_SFTP_ONLY = (
        "account-sftp-only",
        _UNREACHABLE,
        "sshd allows this account SFTP only (ForceCommand internal-sftp)",
        "log in as another one",
    )
    FORCED_COMMAND = (
        "forced-command",
        _UNREACHABLE,
        "sshd runs another command for this account (ForceCommand, or `command=` in authorized_keys)",
        "log in as another one",
    )
    TERMINAL = (
        "shell-terminal",
        _UNREACHABLE,
        "sshd runs commands in a terminal there (a session recorder by ForceCommand?), which changes their output",
        "log in as an account without it",
    )
    NOISE = (
        "shell-noise",
        _UNREACHABLE,
        "the login shell printed too much before it ran a command",
        "silence its rc files for sessions that are not interactive",
    )
    FAILED = (
        "shell-failed",
        _UNREACHABLE,
        "the login shell ended without running `sh`",
        "does the account have a shell that may run commands?",
    )
    TIMEOUT = (
        "shell-timeout",
        _UNREACHABLE,
        "logged in, but the login shell ran no command in time",
        "check its rc files, the load of the host, and a ForceCommand of sshd",
    )


class BecomeFailure(FailureCatalogue):
    """A user that does not become root."""

    NOT_INSTALLED = (
        "become-not-installed",
        _BECOME_FAILED,
        "sudo is not installed there",
        "install it, set `ansible_become_method`, or log in as root (`ansible_user: root`)",
    )
    WRONG_PASSWORD = (
        "become-wrong-password",
        _BECOME_FAILED,
        "sudo refused the password",
        "check `ansible_become_password`",
    )
    PASSWORD_REQUIRED = (
        "become-password-required",
        _BECOME_FAILED,
        "sudo asks for a password",
        "set `ansible_become_password`, or allow NOPASSWD in sudoers",
    )
    NEEDS_TTY = (
        "become-needs-tty",
        _BECOME_FAILED,
        "sudo requires a terminal",
        "set `Defaults:USER !requiretty` in sudoers for the user who logs in",
    )
    REFUSED = (
        "become-refused",
        _BECOME_FAILED,
        "sudo does not let this user run `sh` as root",
        "allow it in sudoers, or log in as another user",
    )
    TIMEOUT = (
        "become-timeout",
        _BECOME_FAILED,
        "sudo did not start a shell in time",
        "does it ask for something other than a password?",
    )
    FAILED = ("become-failed", _BECOME_FAILED, "sudo did not start a shell", "try it there by hand")


class ScriptFailure(FailureCatalogue):
    """A script that the controller ended, or did not start any more."""

    TIMEOUT = (
        "script-timeout",
        HostState.TIMEOUT,
        "the script did not end in time, and the controller ended it",
        "is the host overloaded?",
    )
    OUTPUT_LIMIT = (
        "output-limit",
        HostState.TRACE_FAILED,
        "the script printed too much, and the controller ended it",
        "fleettrace's scripts print far less: check what changes their output there",
    )
    CLOSED = (
        "closed",
        HostState.INTERRUPTED,
        "the controller ended the script early",
        "the run was interrupted: start it again",
    )
    CONNECTION_CLOSED = (
        "connection-closed",
        _UNREACHABLE,
        "the controller has closed the connection",
        "the run was interrupted: start it again",
    )


def script_timeout(seconds: float) -> HostError:
    """Return the error of a script that ran longer than `seconds`."""
    return ScriptFailure.TIMEOUT.error(f"the script did not end within {seconds:.3g} s, and the controller ended it")


def output_limit(max_bytes: int) -> HostError:
    """Return the error of a script that printed more than `max_bytes`."""
    return ScriptFailure.OUTPUT_LIMIT.error(
        f"the script printed more than {max_bytes} bytes, and the controller ended it"
    )
