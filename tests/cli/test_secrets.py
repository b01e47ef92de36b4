"""A password that a command prints is taken from there, once, and never told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.cli.secrets import secret
from fleettrace.errors import ConfigError
from fleettrace.inventory.settings import SecretCommand


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
