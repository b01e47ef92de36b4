"""Collect all errors of a playbook with their locations, so that one run reports them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.tree import Location

__all__ = ["PlaybookError", "Problem", "Problems", "meant"]

_MOST = 100
"""Problems that are reported; a file with more is hardly a playbook."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error of a playbook."""

    location: Location
    message: str

    def __str__(self) -> str:
        return f"{self.location}: {self.message}"


class PlaybookError(ConfigError):
    """All errors of some playbooks, in the order of the files, each as `file:line:column: message`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class Problems:
    """A collection of problems."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self._files: dict[str, None] = {}

    def opened(self, file: str) -> None:
        """Note that `file` was opened; problems are sorted by this order."""
        self._files.setdefault(file)

    def add(self, location: Location, message: str) -> None:
        """Add a problem; the same message at the same location counts once."""
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
    """Return `; did you mean 'x'?` for the nearest of `known`; an empty string when none is near."""
    names = {name.lower().replace("_", "-"): name for name in known}
    near = difflib.get_close_matches(word.lower().replace("_", "-"), list(names), 1, 0.6)
    return f"; did you mean {names[near[0]]!r}?" if near else ""
