"""A play as a value: all that the playbook holds about it, checked, with variables expanded."""

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
    """One output of a play's report."""

    format: str
    file: str | None
    """None: stdout."""
    location: Location


@dataclass(frozen=True, slots=True)
class Play:
    """One sweep, its rules, and where its report and findings go."""

    playbook: str
    """The name of the requested file, without directory and suffix."""
    name: str
    """Unique in the playbook."""
    hosts: str
    location: Location
    file: str = ""
    """The requested file, as an absolute path: the play may be in a file that it includes."""
    locations: Mapping[str, Location] = field(default_factory=dict)
    """The location of the value of each key that the play has."""
    sweep: Mapping[str, str | bool | list[str]] = field(default_factory=dict)
    """Options of `fleettrace run` by their long names, as the strings that it takes; True and False for switches."""
    keep: str | None = None
    rules: tuple[Rule, ...] = ()
    outputs: tuple[PlayOutput, ...] = ()
    notify: tuple[NotifyTarget, ...] = ()
    tags: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """Return its name in the history and in the lock."""
        return f"{self.playbook}/{self.name}"

    def where(self, key: str) -> Location:
        """Return the location of the value of that key; of the play when it has no such key."""
        return self.locations.get(key, self.location)


def chosen(play: Play, tags: Collection[str], skipped: Collection[str]) -> bool:
    """Return whether the tags select the play. As in Ansible, `always` and `never` are special tags."""
    if play.tags & set(skipped):
        return False
    if "never" in play.tags:
        return bool(play.tags & set(tags))
    return not tags or "all" in tags or "always" in play.tags or bool(play.tags & set(tags))
