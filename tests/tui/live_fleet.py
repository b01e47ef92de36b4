"""Events of a sweep over a small fleet, for the live display."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleettrace.errors import HostState
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import Failure, HostResult
from fleettrace.sweep.events import HostFinished, HostProgressed, HostStarted, Phase, RunStarted, SliceArrived
from fleettrace.tui.frame import frame
from fleettrace.tui.view import Action, LiveView

__all__ = ["Desk", "arrived", "failed", "known"]


def known(requests: int, *, misses: int | None = None, value_bytes: int | None = None, second: int = 0) -> KeyCount:
    """A count of gets, and a set in ten of them where the size of values is known."""
    sets = 0 if value_bytes is None else requests // 10
    ops = {"get": requests - sets, "set": sets}
    return KeyCount(requests, 0, ops, misses, value_bytes, [0] * second + [requests])


def arrived(host: str, keys: Mapping[bytes, KeyCount | int], second: int = 0) -> SliceArrived:
    """A slice of a host's only instance in a second of its trace."""
    counts = {
        Key.whole(data): count if isinstance(count, KeyCount) else known(count, second=second)
        for data, count in keys.items()
    }
    total = sum(count.requests for count in counts.values())
    return SliceArrived(host, {"1@2": Summary(total, 0, counts, [0] * second + [total])})


def failed(host: str, message: str) -> HostFinished:
    """A host that could not be reached."""
    failure = Failure("unreachable", message)
    return HostFinished(host, HostState.UNREACHABLE, HostResult(host, HostState.UNREACHABLE, failure))


class Desk:
    """A user at a terminal, with a clock that tests set."""

    def __init__(self, view: LiveView | None = None, *, hosts: int = 3, width: int = 80, height: int = 24) -> None:
        self.view = LiveView("cache-*") if view is None else view
        self.at = 100.0
        self.width, self.height = width, height
        self.view.take(RunStarted("run-1", hosts, 60.0), self.at)

    def trace(self, *hosts: str) -> Desk:
        """These hosts begin to count."""
        for host in hosts:
            self.view.take(HostStarted(host), self.at)
            self.view.take(HostProgressed(host, Phase.TRACE), self.at)
        return self

    def take(self, *events: SliceArrived | HostFinished) -> Desk:
        """These events arrive now."""
        for event in events:
            self.view.take(event, self.at)
        return self

    def press(self, *keys: str) -> list[Action]:
        """Press keys, with a look at the screen before each; gives what they ask for."""
        asked = []
        for key in keys:
            self.view.rows(self.at)
            asked.append(self.view.press(key, self.at))
        return [action for action in asked if action is not None]

    @property
    def screen(self) -> str:
        """What is to be seen."""
        return "\n".join(line.text for line in frame(self.view, self.width, self.height, self.at))

    @property
    def names(self) -> list[str]:
        """The names of the list, from top to bottom."""
        lines = [line for line in self.screen.splitlines()[2:-1] if re.match(r"\s+([\d,]+|\?) ", line)]
        return [line.split()[-1] for line in lines]

    @property
    def selected(self) -> str:
        """The name under the cursor."""
        (line,) = [one for one in frame(self.view, self.width, self.height, self.at)[:-1] if one.style == "reverse"]
        return line.text.split()[-1]
