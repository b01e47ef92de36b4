"""What is wrong with a playbook, and where: all of it is gathered before any of it is told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.tree import Location

__all__ = ["PlaybookError", "Problem", "Problems", "meant"]

_MOST = 100
"""Problems told of: beyond that a file is no playbook at all."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong."""

    location: Location
    message: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"


class PlaybookError(ConfigError):
    """All that is wrong, in the order of the files, as `file:line:column: message` each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class Problems:
    """Gathers problems."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self._files: dict[str, None] = {}

    def opened(self, file: str) -> None:
        """Problems are told in the order in which their files were opened."""
        self._files.setdefault(file)

    def add(self, location: Location, message: str) -> None:
        """Note one; the same one at the same place, met by several ways, is one."""
        self._found.setdefault(Problem(location, message))

    def __bool__(self) -> bool:
        return bool(self._found)

    def check(self) -> None:
        """Raise `PlaybookError` if there are any."""
        if not self._found:
            return
        order = {file: number for number, file in enumerate(self._files)}
        found = sorted(self._found, key=lambda one: (order.get(one.location.file, -1), one))
        raise PlaybookError(found[:_MOST])


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, or nothing where none is near."""
    names = {name.lower().replace("_", "-"): name for name in known}
    near = difflib.get_close_matches(word.lower().replace("_", "-"), list(names), 1, 0.6)
    return f"; did you mean {names[near[0]]!r}?" if near else ""
