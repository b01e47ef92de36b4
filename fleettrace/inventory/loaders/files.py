"""Read an inventory file, or a directory of them in Ansible's order."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.layout import add_layout
from fleettrace.inventory.loaders.listing import add_listing, is_listing
from fleettrace.inventory.model import Origin
from fleettrace.inventory.tree import Tree
from fleettrace.yaml_reader.values import read_json, read_text

__all__ = ["VAULT_HEADER", "YAML_SUFFIXES", "add_directory", "add_file", "read_file"]


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


YAML_SUFFIXES = frozenset({"", ".yaml", ".yml", ".json"})

VAULT_HEADER = "$ANSIBLE_VAULT;"


_IGNORED_NAMES = frozenset({"group_vars", "host_vars", "vars_plugins"})

# Ansible's default for INVENTORY_IGNORE_EXTS (REJECT_EXTS and three more).
_IGNORED_ENDS = (".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry")

_OTHER_FORMATS = frozenset({".ini", ".toml"})

_INI_SECTION = re.compile(r"^\[[^\[\],\"']+\]\s*(?:[#;].*)?$", re.M)


def read_file(path: Path) -> str:
    """Return the text of `path`. Raises `ConfigError` if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}", file=path) from None


def add_directory(tree: Tree, directory: Path) -> None:
    """Add every inventory file in `directory` and below, sorted by name, except those that Ansible ignores."""
    try:
        paths = sorted(directory.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=directory) from None
    for path in paths:
        if path.name.startswith(".") or path.name in _IGNORED_NAMES or path.name.endswith(_IGNORED_ENDS):
            continue
        if path.is_dir():
            add_directory(tree, path)
        elif path.suffix in YAML_SUFFIXES | _OTHER_FORMATS or is_executable(path):
            add_file(tree, path, may_be_empty=True)
        else:
            tree.warnings.append(f"{path}: ignored: neither YAML nor JSON nor executable")


def add_file(tree: Tree, path: Path, *, may_be_empty: bool = False) -> None:
    """Add one file: run it if it is executable, else read it as YAML or JSON. Raises `ConfigError`."""
    if is_executable(path) and add_script(tree, path):
        return
    if path.suffix in _OTHER_FORMATS:
        raise _other_format(path, path.suffix[1:].upper())
    text = read_file(path)
    if text.startswith(VAULT_HEADER):
        raise ConfigError("is encrypted by ansible-vault: use a decrypted inventory, or one without secrets", file=path)
    try:
        data = read_text(text, str(path))
    except ConfigError:
        if _INI_SECTION.search(text):
            raise _other_format(path, "INI") from None
        raise
    if data is None or data == {}:
        if not may_be_empty:
            raise ConfigError("is empty: expected groups and hosts, such as `all: {hosts: {cache-001: }}`", file=path)
    elif is_listing(data):
        add_listing(tree, data, Origin(str(path)))
    elif not isinstance(data, dict) and _INI_SECTION.search(text):
        raise _other_format(path, "INI")
    else:
        add_layout(tree, data, Origin(str(path)))


def _other_format(path: Path, name: str) -> ConfigError:
    return ConfigError(
        f"looks like {name}, and only YAML and JSON are read: "
        f"convert it with `ansible-inventory -i {path} --list --yaml`",
        file=path,
    )
