"""Secrets that the inventory does not hold itself: a command on the controller prints them, or a person is asked."""

from __future__ import annotations

import argparse
import getpass
import shlex
import subprocess
import sys
from functools import cache

from fleettrace.errors import ConfigError
from fleettrace.inventory.settings import SecretCommand

__all__ = ["asked_password", "secret"]

_TIMEOUT_S = 60


def secret(value: str | SecretCommand | None) -> str | None:
    """The secret itself: as it is, or the first line that its command prints. Raises `ConfigError`."""
    return _printed(value.command) if isinstance(value, SecretCommand) else value


def asked_password(arguments: argparse.Namespace) -> str | None:
    """With `--ask-become-pass`, what a person types when asked, once and without an echo. Raises `ConfigError`."""
    if not arguments.ask_become_pass:
        return None
    if not sys.stdin.isatty():
        raise ConfigError(
            "--ask-become-pass asks on a terminal, and standard input is none: set `ansible_become_password` in the "
            "inventory, which may be a command that prints it (`{cmd: ...}`)"
        )
    try:
        return getpass.getpass("BECOME password: ", sys.stderr)
    except EOFError:
        raise ConfigError("--ask-become-pass: no password was typed") from None


@cache
def _printed(command: str) -> str:
    """Each command runs once, however many hosts name it. Neither its output nor its arguments go into an error."""
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
