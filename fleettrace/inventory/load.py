"""Load one source into an `Inventory`: a file, a directory, an executable, or JSON on standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.files import add_directory, add_file
from fleettrace.inventory.loaders.listing import add_listing
from fleettrace.inventory.loaders.vars_files import VarsFiles
from fleettrace.inventory.model import Inventory, Origin
from fleettrace.inventory.settings import check_names
from fleettrace.inventory.tree import Tree
from fleettrace.yaml_reader.values import read_json

__all__ = ["default_sources", "load_inventory"]


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
