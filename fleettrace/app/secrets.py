"""Secrets outside the inventory: printed by a command on the controller, or typed by the user."""

from __future__ import annotations

import getpass
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fleettrace.app.site import Site
from fleettrace.errors import ConfigError
from fleettrace.inventory.password_file import read_password
from fleettrace.inventory.settings import SecretCommand

__all__ = ["Passwords", "ask_passwords", "forget_secrets", "prompt", "secret"]

_TIMEOUT_S = 60


def secret(value: str | SecretCommand | None) -> str | None:
    """Return the secret: its text, or the first line that its command prints. Raises `ConfigError`."""
    return _printed(value.command) if isinstance(value, SecretCommand) else value


def forget_secrets() -> None:
    """Run the commands that print secrets again at their next use."""
    _printed.cache_clear()


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords that the user typed, for hosts that have none of their own."""

    login: str | None = field(default=None, repr=False)
    become: str | None = field(default=None, repr=False)


def ask_passwords(site: Site) -> Passwords:
    """Ask on the terminal for the passwords that the options or ansible.cfg request. Raises `ConfigError`.

    As in Ansible, an empty answer to the second question repeats the first password.
    """
    config = site.config
    login = prompt("--ask-pass", "SSH password: ", "ansible_password") if site.ask_pass else None
    if login is None and (file := config.text("connection_password_file")):
        login = _from_file(Path(file), "the password of the login")
    become = None
    if site.ask_become_pass:
        hint = " (defaults to SSH password)" if login else ""
        become = prompt("--ask-become-pass", f"BECOME password{hint}: ", "ansible_become_password") or login
    elif file := config.text("become_password_file"):
        become = _from_file(Path(file), "the password of become")
    return Passwords(login, become)


def prompt(option: str, text: str, variable: str) -> str:
    """Ask on the terminal for a password, without echo. Raises `ConfigError`, which names the option."""
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{option} needs a terminal on standard input: set `{variable}` in the inventory, "
            "which may be a command that prints it (`{cmd: ...}`)"
        )
    try:
        return getpass.getpass(text, sys.stderr)
    except EOFError:
        raise ConfigError(f"{option}: no password was typed") from None


def _from_file(path: Path, what: str) -> str:
    try:
        return read_password(path, what).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{what} is not UTF-8", file=path) from None


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
