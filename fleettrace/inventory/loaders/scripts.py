"""Run an inventory script, and read what it prints."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.listing import add_listing
from fleettrace.inventory.model import Origin
from fleettrace.inventory.tree import Tree
from fleettrace.yaml_reader.values import read_json

__all__ = ["add_script", "is_executable"]

_TIMEOUT_S = 300.0
"""Seconds for one call. Scripts that list thousands of hosts of a cloud take minutes."""


def is_executable(path: Path) -> bool:
    """Return whether Ansible would run the file `path`."""
    return path.is_file() and os.access(path, os.X_OK)


def add_script(tree: Tree, path: Path) -> bool:
    """Run `path` and add what it prints. Return False if it is not a program, in spite of its permissions.

    Raises `ConfigError` if it fails, takes more than 5 minutes, or prints anything else.
    """
    printed = _run(path, "--list")
    if printed is None:
        return False
    origin = Origin(str(path), has_lines=False)

    def ask_host(name: str) -> Any:
        text = _run(path, "--host", name) or ""
        return read_json(text, f"{path} --host {name}") if text.strip() else {}

    add_listing(tree, read_json(printed, f"{path} --list"), origin, ask_host)
    return True


def _run(path: Path, *arguments: str) -> str | None:
    command = [str(path.absolute()), *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, encoding="utf-8", check=False
        )
    except OSError as error:
        if error.errno == errno.ENOEXEC:
            return None
        raise ConfigError(f"cannot be run: {error.strerror}", file=path) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{arguments[0]} took more than {_TIMEOUT_S:.0f} seconds", file=path) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{arguments[0]} printed output that is not UTF-8", file=path) from None
    if done.returncode != 0:
        raise ConfigError(f"{arguments[0]} ended with status {done.returncode}{_last_line(done.stderr)}", file=path)
    return done.stdout


def _last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return ": " + "".join(letter if letter.isprintable() else "?" for letter in lines[-1]) if lines else ""
