"""A password that a command prints is taken from there, once, and never told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fleettrace.cli.parser import HOST_KEYS, parse
from fleettrace.cli.secrets import asked_password, secret
from fleettrace.errors import ConfigError
from fleettrace.inventory.settings import SecretCommand
from fleettrace.transport.interface import HostKeyPolicy


def test_a_password_of_the_inventory_is_itself() -> None:
    assert secret("hunter2") == "hunter2"
    assert secret(None) is None


def test_a_command_is_run_once_and_its_first_line_taken(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = SecretCommand(f"sh -c 'echo x >>{log}; echo first; echo second'")
    assert [secret(command), secret(command)] == ["first", "first"]
    assert log.read_text() == "x\n"


@pytest.mark.parametrize(
    "command", ["sh -c 'echo hunter2; exit 3' hunter2", "true", "/no/such/program hunter2", "sh -c 'unbalanced"]
)
def test_a_command_that_fails_is_named_without_its_arguments(command: str) -> None:
    with pytest.raises(ConfigError, match="the command for a password") as caught:
        secret(SecretCommand(command))
    assert "hunter2" not in str(caught.value)


def test_a_password_is_asked_for_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.close(theirs)
    with os.fdopen(ours) as no_terminal:
        monkeypatch.setattr(sys, "stdin", no_terminal)
        assert asked_password(parse(["run"], {})) is None
        with pytest.raises(ConfigError, match="asks on a terminal, and standard input is none"):
            asked_password(parse(["run", "-K"], {}))


def test_the_policies_are_the_transports() -> None:
    assert list(HOST_KEYS) == [policy.value for policy in HostKeyPolicy]
