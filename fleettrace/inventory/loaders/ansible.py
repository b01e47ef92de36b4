"""Ask Ansible itself for an inventory that only Ansible can read: the configuration of an inventory plugin."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.values import read_json

__all__ = ["ask_ansible", "pipeline"]

_PROGRAM = "ansible-inventory"
_TIMEOUT_S = 300.0
"""Seconds: a plugin that lists thousands of hosts of a cloud takes minutes."""


def pipeline(sources: Sequence[str]) -> str:
    """Return the command line that hands Ansible's reading of `sources` to fleettrace, which then lists the hosts."""
    named = " ".join(f"-i {shlex.quote(source)}" for source in sources)
    return f"{_PROGRAM} {named} --list | fleettrace hosts -i -"


def ask_ansible(sources: Sequence[str], arguments: Sequence[str]) -> Any | None:
    """Return what `ansible-inventory --list` prints for `sources`; None where it is not installed.

    Raises `ConfigError` where it fails, prints anything else, or takes more than 5 minutes.
    """
    beside = Path(sys.executable).with_name(_PROGRAM)
    program = shutil.which(_PROGRAM) or (str(beside) if os.access(beside, os.X_OK) else None)
    if program is None:
        return None
    argv = [program, *(word for source in sources for word in ("-i", source)), "--list", *arguments]
    # Without this, Ansible leaves out a source that it cannot read, with a warning.
    environment = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1", "ANSIBLE_NOCOLOR": "1"}
    shown = ", ".join(sources)
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, env=environment, check=False
        )
    except OSError as error:
        raise ConfigError(f"{shown}: {_PROGRAM} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{shown}: {_PROGRAM} took more than {_TIMEOUT_S:.0f} seconds") from None
    if done.returncode != 0:
        raise ConfigError(f"{shown}: {_PROGRAM} ended with status {done.returncode}{_reason(done.stderr)}")
    return read_json(done.stdout.decode("utf-8", "surrogateescape"), f"{_PROGRAM} --list")


def _reason(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    # The first warning is of the plugin that the source names; the error at the end gives no reason.
    error = next((line for line in lines if "plugin" in line or "ERROR" in line), lines[-1] if lines else "")
    return ": " + "".join(letter if letter.isprintable() else "?" for letter in error) if error else ""
