"""Load one source into an `Inventory`: a file, a directory, an executable, or JSON on standard input.

Read the variable files in `group_vars/` and `host_vars/` beside an inventory.

For the name `web`, Ansible takes the first of `web` (a file, or a directory of files), `web.yml`, `web.yaml` and
`web.json`. The two directories are listed once, so that 10,000 hosts without a file cost nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.files import VAULT_HEADER, YAML_SUFFIXES, add_directory, add_file, read_file
from fleettrace.inventory.loaders.listing import add_listing
from fleettrace.inventory.model import Inventory, Layer, Origin
from fleettrace.inventory.settings import check_names
from fleettrace.inventory.tree import Tree
from fleettrace.yaml_reader.values import read_json, read_text

__all__ = ["default_sources", "load_inventory"]


# In the order of Ansible's DataLoader.find_vars_files: the bare name first.
_SUFFIX_ORDER = ("", ".yml", ".yaml", ".json")


class VarsFiles:
    """The variable files below one directory (None: the inventory is not a file)."""

    def __init__(self, directory: Path | None) -> None:
        self._group_dir = directory and directory / "group_vars"
        self._host_dir = directory and directory / "host_vars"
        self._group_names = _listing(self._group_dir)
        self._host_names = _listing(self._host_dir)
        self._groups: dict[str, tuple[Layer, ...]] = {}
        self._all: list[Layer] = []
        self._warnings: list[str] = []

    def of_group(self, name: str) -> tuple[Layer, ...]:
        """Return the variables in the files of the group `name`. Raises `ConfigError`, which names the file."""
        if name not in self._groups:
            self._groups[name] = self._read(self._group_dir, self._group_names, name)
        return self._groups[name]

    def of_host(self, name: str) -> tuple[Layer, ...]:
        """Return the variables in the files of the host `name`. Call it once a host. Raises `ConfigError`."""
        return self._read(self._host_dir, self._host_names, name) if self._host_names else ()

    def every_layer(self) -> tuple[Layer, ...]:
        """Return every layer that was read so far."""
        return tuple(self._all)

    def warnings(self) -> tuple[str, ...]:
        """Return one line for each file that was ignored so far."""
        return tuple(self._warnings)

    def _read(self, directory: Path | None, names: frozenset[str], name: str) -> tuple[Layer, ...]:
        if directory is None:
            return ()
        for suffix in _SUFFIX_ORDER:
            if name + suffix in names:
                path = directory / (name + suffix)
                files = _files_below(path) if path.is_dir() else [path]
                layers = tuple(layer for layer in map(self._layer, files) if layer)
                self._all.extend(layers)
                return layers
        return ()

    def _layer(self, path: Path) -> Layer | None:
        text = read_file(path)
        if text.startswith(VAULT_HEADER):
            self._warnings.append(f"{path}: ignored: it is encrypted by ansible-vault, so its variables are not known")
            return None
        data = read_text(text, str(path))
        if not data:
            return None
        if not isinstance(data, dict):
            raise ConfigError("must be a mapping of variables to values", file=path, line=1)
        return Layer(data, Origin(str(path)))


def _listing(directory: Path | None) -> frozenset[str]:
    if directory is None or not directory.is_dir():
        return frozenset()
    return frozenset(path.name for path in directory.iterdir())


def _files_below(directory: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(directory.iterdir(), key=lambda path: path.name):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir() and not path.suffix:
            found += _files_below(path)
        elif path.is_file() and path.suffix in YAML_SUFFIXES:
            found.append(path)
    return found


def default_sources() -> list[Path]:
    """Return the paths that are tried when the user names no inventory, best first. None of them has to exist."""
    return [
        Path("inventory.yaml"),
        Path.home() / ".config" / "fleettrace" / "inventory.yaml",
        Path("/etc/fleettrace/inventory.yaml"),
    ]


def load_inventory(source: str, stdin: IO[str] | None = None) -> Inventory:
    """Read the inventory `source`: a path, or `-` for the JSON of `ansible-inventory --list` on `stdin`.

    Raises `ConfigError` for any error in it, also for an unknown variable that begins with `fleettrace_`.
    """
    tree = Tree()
    if source == "-":
        text = (stdin or sys.stdin).read()
        add_listing(tree, read_json(text, "<stdin>"), Origin("<stdin>", has_lines=False))
        files = VarsFiles(None)
    else:
        path = Path(source)
        if path.is_dir():
            add_directory(tree, path)
        elif path.exists():
            add_file(tree, path)
        else:
            raise ConfigError("the inventory does not exist: name one with -i FILE, DIRECTORY or SCRIPT", file=path)
        files = VarsFiles(path if path.is_dir() else path.absolute().parent)
    inventory = tree.freeze(source, files)
    check_names(inventory)
    return inventory
