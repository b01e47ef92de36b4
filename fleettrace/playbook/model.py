"""A play as a value: everything that is written of it, its variables put in and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleettrace.yaml_reader.tree import Location

if TYPE_CHECKING:
    from fleettrace.playbook.notify.interface import NotifyTarget
    from fleettrace.playbook.rules.language import Rule

__all__ = ["Play", "PlayOutput", "chosen"]


@dataclass(frozen=True, slots=True)
class PlayOutput:
    """One form in which a play's report is written."""

    format: str
    file: str | None
    """None: to stdout."""
    location: Location


@dataclass(frozen=True, slots=True)
class Play:
    """One sweep, and what becomes of what it finds."""

    playbook: str
    """The name of the file that was asked for, without its folder and ending."""
    name: str
    """No other play of the playbook has it."""
    hosts: str
    location: Location
    locations: Mapping[str, Location] = field(default_factory=dict)
    """Where the value of each key that is given stands."""
    sweep: Mapping[str, str | bool | list[str]] = field(default_factory=dict)
    """Options of `fleettrace run` by their long names, as texts that it takes; True and False for switches."""
    keep: str | None = None
    rules: tuple[Rule, ...] = ()
    outputs: tuple[PlayOutput, ...] = ()
    notify: tuple[NotifyTarget, ...] = ()
    tags: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """What the history and the lock know it by."""
        return f"{self.playbook}/{self.name}"

    def where(self, key: str) -> Location:
        """Where the value of that key stands; the play where it is left out."""
        return self.locations.get(key, self.location)


def chosen(play: Play, tags: Collection[str], skipped: Collection[str]) -> bool:
    """Whether a play is wanted by its tags, as Ansible has it: `always` and `never` are tags of their own."""
    if play.tags & set(skipped):
        return False
    if "never" in play.tags:
        return bool(play.tags & set(tags))
    return not tags or "all" in tags or "always" in play.tags or bool(play.tags & set(tags))
