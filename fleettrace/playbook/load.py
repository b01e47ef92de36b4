"""From files to plays: includes are followed, variables put in, and everything is checked before anything is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fleettrace.playbook.model import Play, PlayOutput
from fleettrace.playbook.problems import Problems
from fleettrace.playbook.schema import Layout
from fleettrace.playbook.schema_types import WRONG
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
    """The variables that are defined or used anywhere in them."""


def load_playbooks(files: Sequence[Path], layout: Layout, variables: Mapping[str, Node]) -> Loaded:
    """The plays of `files`, in their order. `variables` win over those of the files. Raises `PlaybookError` with
    everything that is wrong."""
    loader = _Loader(layout, variables)
    for file in files:
        loader.playbook(file)
    loader.problems.check()
    return Loaded(tuple(loader.plays), frozenset(loader.names))


@dataclass(frozen=True, slots=True)
class _Way:
    """How a file came to be read."""

    playbook: str
    files: tuple[Path, ...] = ()
    """The files that include it, the first one first; itself the last."""
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
        """Read a playbook that was asked for."""
        self._file(file, _Way(file.stem, variables={}), None)

    def _file(self, file: Path, way: _Way, asked: Location | None) -> None:
        """Read a file that is asked for at that place; None: by the user."""
        self.problems.opened(str(file))
        location = Location(str(file), 1, 1)
        if file.resolve() in way.files:
            circle = [*way.files[way.files.index(file.resolve()) :], file.resolve()]
            names = " -> ".join(each.name for each in circle)
            self.problems.add(asked or location, f"{names}: these include each other; expected an end to it")
            return
        self._files += 1
        if self._files > _MAX_FILES:
            self.problems.add(asked or location, f"more than {_MAX_FILES} files, includes followed; expected fewer")
            return
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
            tree = read_tree(data.decode("utf-8-sig"), str(file))
        except OSError as error:
            expected = "a playbook" if asked is None else "a playbook's file, from the folder of this one"
            self.problems.add(asked or location, f"cannot read {str(file)!r}: {error.strerror}; expected {expected}")
        except UnicodeDecodeError as error:
            self.problems.add(location, f"this is not UTF-8 from byte {error.start} on; expected a playbook in UTF-8")
        except YamlError as error:
            self.problems.add(error.location, error.message)
        else:
            self._entries(tree, file, replace(way, files=(*way.files, file.resolve())))

    def _entries(self, tree: Node, file: Path, way: _Way) -> None:
        if tree.kind is not NodeKind.LIST or not tree.items:
            shown = "an empty list" if tree.kind is NodeKind.LIST else str(tree.kind)
            self.problems.add(tree.location, f"here is {shown}; expected a list of plays: - name: ...")
        for entry in tree.items:
            if len(self.plays) >= _MAX_PLAYS:
                self.problems.add(entry.location, f"more than {_MAX_PLAYS:,} plays, includes followed; expected fewer")
                return
            if entry.get("include") is not None and entry.get("hosts") is None:
                self._include(entry, file, way)
            else:
                self._play(entry, file, way)

    def _include(self, entry: Node, file: Path, way: _Way) -> None:
        own = self._variables(entry)
        scope = self._scope(own, way, file)
        values = self._layout.include.read(self._filled(entry, scope), self.problems)
        if values is WRONG:
            return
        filled = {name: value if value.is_literal else scope.fill(value) for name, value in own.items()}
        more = replace(way, variables={**filled, **way.variables}, tags=way.tags | values.get("tags", frozenset()))
        at = entry.get("include")
        self._file(file.parent / values["include"], more, None if at is None else at.location)

    def _play(self, entry: Node, file: Path, way: _Way) -> None:
        own = self._variables(entry)
        values = self._layout.play.read(self._filled(entry, self._scope(own, way, file)), self.problems)
        if values is WRONG:
            return
        locations = {key.text: value.location for key, value in entry.entries}
        play = Play(
            playbook=way.playbook,
            name=values["name"],
            hosts=values["hosts"],
            location=entry.location,
            locations=locations,
            sweep=values.get("sweep", {}),
            keep=values.get("keep"),
            rules=tuple(values.get("rules", ())),
            outputs=tuple(values.get("outputs", ())),
            notify=tuple(values.get("notify", ())),
            tags=values.get("tags", frozenset()) | way.tags,
        )
        self._alone(self._titles, play.title, play.where("name"), f"the name {play.name!r} is taken by the play")
        self._check_outputs(play.outputs)
        self.plays.append(play)

    def _filled(self, entry: Node, scope: VariableScope) -> Node:
        """The entry with its variables put in, but in `vars`, which are put in where they are used."""
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

    def _scope(self, own: Mapping[str, Node], way: _Way, file: Path) -> VariableScope:
        """From weak to strong: the play's own, those of the includes that led to it, those given by the user."""
        folder = replace(text_node(str(file.absolute().parent), Location(str(file), 1, 1)), is_literal=True)
        return VariableScope({"playbook_dir": folder, **own, **way.variables, **self._given}, self.problems)

    def _check_outputs(self, outputs: Sequence[PlayOutput]) -> None:
        to_stdout: dict[str, Location] = {}
        for output in outputs:
            if output.file is not None:
                name = str(Path(output.file).absolute())
                self._alone(self._written, name, output.location, f"{output.file!r} is written by the output")
            elif output.format == "html":
                message = "stdout cannot show a page; expected `file` beside `format: html`"
                self.problems.add(output.location, message)
            else:
                self._alone(to_stdout, "", output.location, "stdout is taken by the output")

    def _alone(self, taken: dict[str, Location], what: str, location: Location, words: str) -> None:
        """Note a problem if there is another of that name; the same lines, included twice, are two."""
        if what in taken:
            self.problems.add(location, f"{words} at {taken[what]} already; expected another one")
        taken.setdefault(what, location)
