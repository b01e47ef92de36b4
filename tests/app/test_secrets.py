"""Passwords from commands and from the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fleettrace.app.option_table import HOST_KEYS
from fleettrace.app.secrets import prompt, secret
from fleettrace.errors import ConfigError
from fleettrace.inventory.settings import SecretCommand
from fleettrace.transport.interface import HostKeyPolicy


def test_password_of_the_inventory_is_unchanged() -> None:
    assert secret("hunter2") == "hunter2"
    assert secret(None) is None


def test_password_command_runs_once_first_line_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = SecretCommand(f"sh -c 'echo x >>{log}; echo first; echo second'")
    assert [secret(command), secret(command)] == ["first", "first"]
    assert log.read_text() == "x\n"


@pytest.mark.parametrize(
    "command", ["sh -c 'echo hunter2; exit 3' hunter2", "true", "/no/such/program hunter2", "sh -c 'unbalanced"]
)
def test_failed_password_command_is_named_without_arguments(command: str) -> None:
    with pytest.raises(ConfigError, match="the command for a password") as caught:
        secret(SecretCommand(command))
    assert "hunter2" not in str(caught.value)


def test_password_prompt_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.close(theirs)
    with os.fdopen(ours) as no_terminal:
        monkeypatch.setattr(sys, "stdin", no_terminal)
        with pytest.raises(ConfigError, match="needs a terminal on standard input"):
            prompt("--ask-become-pass", "BECOME password: ", "ansible_become_password")


def test_host_key_policies_are_the_transports() -> None:
    assert list(HOST_KEYS) == [policy.value for policy in HostKeyPolicy]
