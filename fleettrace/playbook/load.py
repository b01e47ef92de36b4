"""Load playbooks: follow includes, expand variables, and check everything before any play runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fleettrace.playbook.model import Play, PlayOutput
from fleettrace.playbook.problems import Problems
from fleettrace.playbook.schema import Layout
from fleettrace.playbook.schema_types import INVALID
from fleettrace.playbook.variables import VariableScope, names_in
from fleettrace.yaml_reader.tree import MAX_BYTES, Location, Node, NodeKind, YamlError, read_tree, text_node

__all__ = ["Loaded", "load_playbooks"]

_MAX_PLAYS = 1000
_MAX_FILES = 200


@dataclass(frozen=True, slots=True)
class Loaded:
    """The plays of some playbooks."""

    plays: tuple[Play, ...]
    names: frozenset[str]
    """The names of all variables that they define or use."""


def load_playbooks(files: Sequence[Path], layout: Layout, variables: Mapping[str, Node]) -> Loaded:
    """Return the plays of `files`, in their order. `variables` take precedence over those of the files. Raise
    `PlaybookError` with all problems."""
    loader = _Loader(layout, variables)
    for file in files:
        loader.playbook(file)
    loader.problems.check()
    return Loaded(tuple(loader.plays), frozenset(loader.names))


@dataclass(frozen=True, slots=True)
class _Inclusion:
    """The chain of includes through which a file is read."""

    playbook: str
    requested: Path
    files: tuple[Path, ...] = ()
    """The files of the chain, the requested one first, the file itself last."""
    variables: Mapping[str, Node] = ()  # type: ignore[assignment]
    tags: frozenset[str] = frozenset()


class _Loader:
    def __init__(self, layout: Layout, variables: Mapping[str, Node]) -> None:
        self.plays: list[Play] = []
        self.problems = Problems()
        self.names: set[str] = set()
        self._layout = layout
        self._given = variables
        self._titles: dict[str, Location] = {}
        self._written: dict[str, Location] = {}
        self._files = 0

    def playbook(self, file: Path) -> None:
        """Read a requested playbook."""
        self._file(file, _Inclusion(file.stem, file.absolute(), variables={}), None)

    def _file(self, file: Path, inclusion: _Inclusion, requested: Location | None) -> None:
        """Read a file that the playbook includes at the location `requested`; None: the user named it."""
        self.problems.opened(str(file))
        location = Location(str(file), 1, 1)
        if file.resolve() in inclusion.files:
            circle = [*inclusion.files[inclusion.files.index(file.resolve()) :], file.resolve()]
            names = " -> ".join(each.name for each in circle)
            self.problems.add(requested or location, f"circular include: {names}")
            return
        self._files += 1
        if self._files > _MAX_FILES:
            self.problems.add(
                requested or location, f"too many files: expected at most {_MAX_FILES}, includes followed"
            )
            return
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
            tree = read_tree(data.decode("utf-8-sig"), str(file))
        except OSError as error:
            expected = "a playbook" if requested is None else "a playbook, relative to the directory of this file"
            self.problems.add(
                requested or location, f"cannot read {str(file)!r}: {error.strerror}: expected {expected}"
            )
        except UnicodeDecodeError as error:
            self.problems.add(location, f"not UTF-8 at byte {error.start}: expected a playbook in UTF-8")
        except YamlError as error:
            self.problems.add(error.location, error.message)
        else:
            self._entries(tree, file, replace(inclusion, files=(*inclusion.files, file.resolve())))

    def _entries(self, tree: Node, file: Path, inclusion: _Inclusion) -> None:
        if tree.kind is not NodeKind.LIST or not tree.items:
            shown = "an empty list" if tree.kind is NodeKind.LIST else str(tree.kind)
            self.problems.add(tree.location, f"found {shown}: expected a list of plays (- name: ...)")
        for entry in tree.items:
            if len(self.plays) >= _MAX_PLAYS:
                self.problems.add(entry.location, f"too many plays: expected at most {_MAX_PLAYS:,}, includes followed")
                return
            if entry.get("include") is not None and entry.get("hosts") is None:
                self._include(entry, file, inclusion)
            else:
                self._play(entry, file, inclusion)

    def _include(self, entry: Node, file: Path, inclusion: _Inclusion) -> None:
        own = self._variables(entry)
        scope = self._scope(own, inclusion, file)
        values = self._layout.include.read(self._filled(entry, scope), self.problems)
        if values is INVALID:
            return
        filled = {name: value if value.is_literal else scope.fill(value) for name, value in own.items()}
        tags = inclusion.tags | values.get("tags", frozenset())
        more = replace(inclusion, variables={**filled, **inclusion.variables}, tags=tags)
        target = entry.get("include")
        self._file(file.parent / values["include"], more, None if target is None else target.location)

    def _play(self, entry: Node, file: Path, inclusion: _Inclusion) -> None:
        own = self._variables(entry)
        values = self._layout.play.read(self._filled(entry, self._scope(own, inclusion, file)), self.problems)
        if values is INVALID:
            return
        locations = {key.text: value.location for key, value in entry.entries}
        play = Play(
            playbook=inclusion.playbook,
            name=values["name"],
            hosts=values["hosts"],
            location=entry.location,
            file=str(inclusion.requested),
            locations=locations,
            sweep=values.get("sweep", {}),
            keep=values.get("keep"),
            rules=tuple(values.get("rules", ())),
            outputs=tuple(values.get("outputs", ())),
            notify=tuple(values.get("notify", ())),
            tags=values.get("tags", frozenset()) | inclusion.tags,
        )
        self._claim(self._titles, play.title, play.where("name"), f"the name {play.name!r} is used by the play")
        self._check_outputs(play.outputs)
        self.plays.append(play)

    def _filled(self, entry: Node, scope: VariableScope) -> Node:
        """Return the entry with variables expanded, except in `vars`, which are expanded where they are used."""
        self.names |= names_in(entry)
        if entry.kind is not NodeKind.MAPPING:
            return entry
        pairs = ((key, value if key.text == "vars" else scope.fill(value)) for key, value in entry.entries)
        return replace(entry, entries=tuple(pairs))

    def _variables(self, entry: Node) -> Mapping[str, Node]:
        known = entry.get("vars")
        pairs: Any = () if known is None else known.entries
        self.names |= {key.text for key, _ in pairs}
        return {key.text: value for key, value in pairs}

    def _scope(self, own: Mapping[str, Node], inclusion: _Inclusion, file: Path) -> VariableScope:
        """Return the variables in ascending precedence: the play, the includes from the inside out, the user."""
        directory = replace(text_node(str(file.absolute().parent), Location(str(file), 1, 1)), is_literal=True)
        return VariableScope({"playbook_dir": directory, **own, **inclusion.variables, **self._given}, self.problems)

    def _check_outputs(self, outputs: Sequence[PlayOutput]) -> None:
        to_stdout: dict[str, Location] = {}
        for output in outputs:
            if output.file is not None:
                name = str(Path(output.file).absolute())
                self._claim(self._written, name, output.location, f"{output.file!r} is written by the output")
            elif output.format == "html":
                message = "stdout cannot show a page: expected `file` beside `format: html`"
                self.problems.add(output.location, message)
            else:
                self._claim(to_stdout, "", output.location, "stdout is used by the output")

    def _claim(self, taken: dict[str, Location], name: str, location: Location, problem: str) -> None:
        """Add a problem if `taken` has the name already; the same lines, included twice, conflict too."""
        if name in taken:
            self.problems.add(location, f"{problem} at {taken[name]}: expected another one")
        taken.setdefault(name, location)
