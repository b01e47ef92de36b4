"""Load sources into an `Inventory`: files, directories, executables, lists of hosts, or JSON on standard input.

Read the variable files in `group_vars/` and `host_vars/` beside an inventory.

For the name `web`, Ansible takes the first of `web` (a file, or a directory of files), `web.yml`, `web.yaml` and
`web.json`. The two directories are listed once, so that 10,000 hosts without a file cost nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from fleettrace.errors import ConfigError
from fleettrace.inventory.addresses import split_address
from fleettrace.inventory.endpoint import parse_endpoint
from fleettrace.inventory.loaders.ansible import ask_ansible, pipeline
from fleettrace.inventory.loaders.files import (
    VAULT_HEADER,
    YAML_SUFFIXES,
    PluginError,
    add_directory,
    add_file,
    read_file,
)
from fleettrace.inventory.loaders.listing import add_listing
from fleettrace.inventory.model import Inventory, Layer, Origin
from fleettrace.inventory.read_options import ReadOptions
from fleettrace.inventory.settings import check_names
from fleettrace.inventory.tree import Tree
from fleettrace.yaml_reader.values import read_json, read_text

__all__ = ["ENDPOINT_SOURCE", "default_sources", "load_inventory"]

ENDPOINT_SOURCE = "endpoint://"
"""Begins a source that is one endpoint, which `--endpoint` names."""

# In the order of Ansible's DataLoader.find_vars_files: the bare name first.
_SUFFIX_ORDER = ("", ".yml", ".yaml", ".json")
_DEFAULT_OPTIONS = ReadOptions()


class VarsFiles:
    """The variable files below the directories of the sources; a later directory takes precedence."""

    def __init__(self, directories: Sequence[Path], options: ReadOptions) -> None:
        # Of a directory that is named twice, the later place counts.
        kept = dict.fromkeys(reversed(directories))
        self._directories = [_VarsDirectory(directory, options) for directory in reversed(kept)]

    def of_group(self, name: str) -> tuple[Layer, ...]:
        """Return the variables in the files of the group `name`. Raises `ConfigError`, which names the file."""
        return tuple(layer for each in self._directories for layer in each.of_group(name))

    def of_host(self, name: str) -> tuple[Layer, ...]:
        """Return the variables in the files of the host `name`. Call it once a host. Raises `ConfigError`."""
        return tuple(layer for each in self._directories for layer in each.of_host(name))

    def every_layer(self) -> tuple[Layer, ...]:
        """Return every layer that was read so far."""
        return tuple(layer for each in self._directories for layer in each.all_layers)

    def warnings(self) -> tuple[str, ...]:
        """Return one line for each file that was ignored so far."""
        return tuple(line for each in self._directories for line in each.warnings)


class _VarsDirectory:
    """The variable files below one directory."""

    def __init__(self, directory: Path, options: ReadOptions) -> None:
        self.all_layers: list[Layer] = []
        self.warnings: list[str] = []
        self._options = options
        self._group_dir = directory / "group_vars"
        self._host_dir = directory / "host_vars"
        self._group_names = _listing(self._group_dir)
        self._host_names = _listing(self._host_dir)
        self._groups: dict[str, tuple[Layer, ...]] = {}

    def of_group(self, name: str) -> tuple[Layer, ...]:
        """Return the variables in the files of a group, which are read once."""
        if name not in self._groups:
            self._groups[name] = self._read(self._group_dir, self._group_names, name)
        return self._groups[name]

    def of_host(self, name: str) -> tuple[Layer, ...]:
        """Return the variables in the files of a host."""
        return self._read(self._host_dir, self._host_names, name) if self._host_names else ()

    def _read(self, directory: Path, names: frozenset[str], name: str) -> tuple[Layer, ...]:
        for suffix in _SUFFIX_ORDER:
            if name + suffix in names:
                path = directory / (name + suffix)
                files = _files_below(path) if path.is_dir() else [path]
                layers = tuple(layer for layer in map(self._layer, files) if layer)
                self.all_layers.extend(layers)
                return layers
        return ()

    def _layer(self, path: Path) -> Layer | None:
        text = read_file(path)
        encrypted = text.startswith(VAULT_HEADER)
        if encrypted and self._options.decrypt is None:
            self.warnings.append(
                f"{path}: ignored: it is encrypted by ansible-vault, and no password was given, so its variables are "
                "not known"
            )
            return None
        if encrypted and self._options.decrypt is not None:
            text = self._options.decrypt(text, str(path))
        data = read_text(text, str(path), repeated=self.warnings.append)
        if not data:
            return None
        if not isinstance(data, dict):
            raise ConfigError("must be a mapping of variables to values", file=path, line=1)
        return Layer(data, Origin(str(path), has_lines=not encrypted))


def _listing(directory: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in directory.iterdir())
    except OSError:
        return frozenset()


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
        Path("/etc/ansible/hosts"),
    ]


def load_inventory(
    sources: Sequence[str], options: ReadOptions = _DEFAULT_OPTIONS, stdin: IO[str] | None = None
) -> Inventory:
    """Read the inventory `sources` and merge them in their order, as Ansible does.

    A source is a path, a list of hosts with a comma in it, `endpoint://HOST:PORT`, or `-` for the JSON of
    `ansible-inventory --list` on `stdin`. Raises `ConfigError` for any error in it, also for an unknown variable that
    begins with `fleettrace_`.
    """
    tree = Tree()
    directories: list[Path] = []
    try:
        for source in sources:
            _add_source(tree, source, options, directories, stdin or sys.stdin)
    except PluginError as plugin:
        return _from_ansible(tuple(sources), options, plugin)
    inventory = tree.freeze(tuple(sources), VarsFiles(directories, options))
    check_names(inventory)
    return inventory


def _add_source(tree: Tree, source: str, options: ReadOptions, directories: list[Path], stdin: IO[str]) -> None:
    path = Path(source)
    if source == "-":
        text = stdin.read()
        if not text.strip():
            raise ConfigError("standard input is empty: expected what `ansible-inventory --list` prints")
        add_listing(tree, read_json(text, "<stdin>"), Origin("<stdin>", has_lines=False), sorted_groups=True)
    elif path.is_dir():
        add_directory(tree, path, options)
        directories.append(path.absolute())
    elif path.exists():
        add_file(tree, path, options)
        directories.append(path.absolute().parent)
    elif source.startswith(ENDPOINT_SOURCE):
        _add_endpoint(tree, source.removeprefix(ENDPOINT_SOURCE))
    elif "," in source:
        _add_hosts(tree, source)
    else:
        raise ConfigError(
            "the inventory does not exist: name a file, directory or script with -i, or hosts with a comma (`-i h1,`)",
            file=path,
        )


def _add_hosts(tree: Tree, source: str) -> None:
    """Add the hosts of a list such as `h1,h2:2222,`."""
    origin = Origin(source, has_lines=False)
    for word in source.split(","):
        if name := word.strip():
            host, port = (None if "[" in name and not name.startswith("[") else split_address(name)) or (name, None)
            tree.add_host(host, "ungrouped", origin, port)


def _add_endpoint(tree: Tree, text: str) -> None:
    """Add the host of an endpoint, which has its name."""
    origin = Origin(f"--endpoint {text}", has_lines=False)
    try:
        parse_endpoint(text)
    except ValueError as error:
        raise ConfigError(f"--endpoint: {error}") from None
    name = tree.add_host(text, "ungrouped", origin)
    tree.add_host_layer(name, Layer({"fleettrace_endpoint": text}, origin))


def _from_ansible(sources: tuple[str, ...], options: ReadOptions, plugin: PluginError) -> Inventory:
    """Let Ansible read all sources: a plugin may build on what the other sources hold."""
    data = None if "-" in sources else ask_ansible(sources, options.ansible_arguments)
    if data is None:
        raise plugin.origin.error(
            f"this configures Ansible's inventory plugin {plugin.plugin!r}, and ansible-inventory is not installed: "
            f"where it is, run `{pipeline(sources)}`, or another command in place of `hosts`"
        )
    tree = Tree()
    add_listing(tree, data, Origin("ansible-inventory", has_lines=False), sorted_groups=True)
    inventory = tree.freeze(sources, VarsFiles((), options))
    check_names(inventory)
    note = f"ansible-inventory read {', '.join(sources)}, because of the plugin {plugin.plugin!r}"
    return replace(inventory, notes=(note,))
