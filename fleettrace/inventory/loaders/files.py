"""Read an inventory file, or a directory of them in Ansible's order."""

from __future__ import annotations

import re
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.layout import add_layout
from fleettrace.inventory.loaders.listing import add_listing, is_listing
from fleettrace.inventory.loaders.script import add_script, is_executable
from fleettrace.inventory.model import Origin
from fleettrace.inventory.tree import Tree
from fleettrace.yaml_reader.values import read_text

__all__ = ["VAULT_HEADER", "YAML_SUFFIXES", "add_directory", "add_file", "read_file"]

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
