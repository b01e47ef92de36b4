"""Secrets outside the inventory: printed by a command on the controller, or typed by the user."""

from __future__ import annotations

import getpass
import shlex
import subprocess
import sys
from functools import cache

from fleettrace.errors import ConfigError
from fleettrace.inventory.settings import SecretCommand

__all__ = ["prompt_become_password", "secret"]

_TIMEOUT_S = 60


def secret(value: str | SecretCommand | None) -> str | None:
    """Return the secret: its text, or the first line that its command prints. Raises `ConfigError`."""
    return _printed(value.command) if isinstance(value, SecretCommand) else value


def prompt_become_password() -> str:
    """Ask on the terminal for the password of `--ask-become-pass`, without echo. Raises `ConfigError`."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "--ask-become-pass needs a terminal on standard input: set `ansible_become_password` in the inventory, "
            "which may be a command that prints it (`{cmd: ...}`)"
        )
    try:
        return getpass.getpass("BECOME password: ", sys.stderr)
    except EOFError:
        raise ConfigError("--ask-become-pass: no password was typed") from None


@cache
def _printed(command: str) -> str:
    """Run each command once, however many hosts name it. Errors contain neither its output nor its arguments."""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, timeout=_TIMEOUT_S, check=False, text=True)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"the command for a password cannot be run ({type(error).__name__}): {_name(command)}"
        ) from None
    if done.returncode != 0 or not done.stdout.strip():
        raise ConfigError(
            f"the command for a password ended with status {done.returncode} and "
            f"{'no' if not done.stdout.strip() else 'some'} output: {_name(command)}"
        )
    return done.stdout.splitlines()[0]


def _name(command: str) -> str:
    return command.split()[0] if command.split() else "(empty)"
