"""Read an inventory file in any form that Ansible reads, or a directory of them in Ansible's order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.ini import add_ini
from fleettrace.inventory.loaders.layout import PluginError, add_layout, kind
from fleettrace.inventory.loaders.listing import add_listing, is_listing
from fleettrace.inventory.loaders.scripts import add_script, is_executable
from fleettrace.inventory.model import Origin
from fleettrace.inventory.read_options import ReadOptions
from fleettrace.inventory.tree import Tree
from fleettrace.yaml_reader.values import read_text

__all__ = ["VAULT_HEADER", "YAML_SUFFIXES", "PluginError", "add_directory", "add_file", "read_file"]

YAML_SUFFIXES = frozenset({"", ".yaml", ".yml", ".json"})
VAULT_HEADER = "$ANSIBLE_VAULT;"
_IGNORED_NAMES = frozenset({"group_vars", "host_vars", "vars_plugins"})
_INI_SECTION = re.compile(r"^\[[^\[\],\"']+\]\s*(?:[#;].*)?$", re.M)


def read_file(path: Path) -> str:
    """Return the text of `path`. Raises `ConfigError` if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}", file=path) from None


def add_directory(tree: Tree, directory: Path, options: ReadOptions) -> None:
    """Add every inventory file in `directory` and below, sorted by name, except those that Ansible ignores.

    Raises `ConfigError`, also for a file that no reader accepts: its hosts would be missing.
    """
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=directory) from None
    for name in names:
        if name.startswith(".") or name in _IGNORED_NAMES or name.endswith(options.ignored_suffixes):
            continue
        if any(re.search(pattern, name) for pattern in options.ignored_patterns):
            continue
        path = directory / name
        if path.is_dir():
            add_directory(tree, path, options)
        else:
            add_file(tree, path, options, may_be_empty=True)


def add_file(tree: Tree, path: Path, options: ReadOptions, *, may_be_empty: bool = False) -> None:
    """Add one file: run it if it is executable, else read it as Ansible's plugins do, YAML before INI.

    Raises `ConfigError`, and `PluginError` for the configuration of an inventory plugin.
    """
    if is_executable(path) and add_script(tree, path):
        return
    text = _plain(read_file(path), path, options)
    if path.suffix == ".toml":
        from fleettrace.inventory.loaders.toml import add_toml

        add_toml(tree, text, str(path))
        return
    if not text.strip():
        if not may_be_empty:
            raise ConfigError("is empty: expected groups and hosts", file=path)
        return
    fault: ConfigError | None = None
    if path.suffix in YAML_SUFFIXES:
        try:
            data = read_text(text, str(path), repeated=tree.warnings.append)
        except ConfigError as error:
            fault = error
        else:
            if isinstance(data, dict) or data is None:
                _add_yaml(tree, data or {}, path, may_be_empty)
                return
            if path.suffix:
                fault = ConfigError(f"expected groups (all: hosts: ...), found {kind(data)}", file=path)
    _add_ini(tree, text, path, fault)


def _plain(text: str, path: Path, options: ReadOptions) -> str:
    if not text.startswith(VAULT_HEADER):
        return text
    if options.decrypt is None:
        raise ConfigError("is encrypted by ansible-vault: give its password with --vault-password-file", file=path)
    return options.decrypt(text, str(path))


def _add_yaml(tree: Tree, data: dict[Any, Any], path: Path, may_be_empty: bool) -> None:
    if not data and not may_be_empty:
        raise ConfigError("is empty: expected groups and hosts, such as `all: {hosts: {cache-001: }}`", file=path)
    if is_listing(data):
        add_listing(tree, data, Origin(str(path)))
    else:
        add_layout(tree, data, Origin(str(path)))


def _add_ini(tree: Tree, text: str, path: Path, fault: ConfigError | None) -> None:
    """Add an INI file. `fault`: why it is not YAML, which its name suggests."""
    try:
        add_ini(tree, text, str(path))
    except ConfigError as error:
        if fault is None or (path.suffix == "" and _INI_SECTION.search(text)):
            raise
        raise ConfigError(
            f"{fault.message} (nor is it INI: line {error.line}: {error.message})", file=path, line=fault.line
        ) from None
