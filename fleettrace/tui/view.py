"""The state of `fleettrace top`, and what each key does to it. Pure: events, key presses and the time in, no effects.

A paused view queues events, and takes them when it continues.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from heapq import nlargest

from fleettrace.report.escape import escape_key
from fleettrace.report.templates import Templates
from fleettrace.summary.key import Key
from fleettrace.sweep.events import Event
from fleettrace.tui.fleet import LiveFleet
from fleettrace.tui.rows import ListFocus, ListKind, Row, Sort, list_rows

__all__ = ["Action", "LiveView"]

_LEARNED_KEYS = 5_000
"""Number of keys among which families are searched, the hottest ones: that takes some 10 ms."""

_LEARN_S = 2.0
"""Seconds after which families are searched again."""

_PAGE = 10

_SORTS = {"r": Sort.REQUESTS, "n": Sort.NOW, "b": Sort.BYTES, "m": Sort.MISSES}
_KINDS = {"k": ListKind.KEYS, "t": ListKind.TEMPLATES, "h": ListKind.HOSTS}


class Action(StrEnum):
    """What a key press requests of the program around the view."""

    QUIT = "quit"
    SAVE = "save"


class LiveView:
    """The state of the display.

    `rename` returns a key's pseudonym, `names` allows keys to be shown at all, `learn` finds families of keys.
    """

    def __init__(
        self,
        pattern: str = "all",
        *,
        rename: Callable[[Key], Key] | None = None,
        names: bool = True,
        learn: Callable[[dict[bytes, int]], Templates] = Templates.learn,
    ) -> None:
        self.pattern = pattern
        self.fleet = LiveFleet()
        self.focus = ListFocus() if names else ListFocus(ListKind.HOSTS)
        self.sort = Sort.REQUESTS
        self.filter = ""
        self.typing = False
        self.paused_at: float | None = None
        self.help = False
        self.message = ""
        self.names = names
        self.renamed = rename is not None
        self._rename = rename
        self._shown: dict[Key, str] = {}
        self._learn = learn
        self._families = Templates((), {})
        self._learned_at: float | None = None
        self._back: list[tuple[ListFocus, str, Key | str | None]] = []
        self._selected: Key | str | None = None
        self._rows: list[Row] = []
        self._queued: list[tuple[Event, float]] = []

    def take(self, event: Event, at: float) -> None:
        """Take an event that happened `at` seconds of a monotonic clock."""
        if self.paused_at is not None:
            self._queued.append((event, at))
        else:
            self.fleet.take(event, at)

    def rows(self, at: float) -> list[Row]:
        """Return the rows of the list at a time; the next key press acts on them."""
        at = self.now(at)
        self.fleet.forget(at)
        if self._learned_at is None or at - self._learned_at >= _LEARN_S:
            self._learn_families(at)
        redacted = not self.names and self.focus.kind is not ListKind.HOSTS
        self._rows = (
            [] if redacted else list_rows(self.fleet, self._families, self.focus, self.sort, self.filter, self.name)
        )
        return self._rows

    def now(self, at: float) -> float:
        """Return the time to show, which stands still while the view is paused."""
        return at if self.paused_at is None else self.paused_at

    @property
    def cursor(self) -> int:
        """The index of the selected row; the first one where that row is gone."""
        return next((index for index, row in enumerate(self._rows) if row.ident == self._selected), 0)

    def name(self, key: Key) -> str:
        """Return the text to show for a key."""
        shown = self._shown.get(key)
        if shown is None:
            renamed = key if self._rename is None else self._rename(key)
            cut = f" (first {len(key.data)} of {key.length} bytes)" if key.truncated and not self.renamed else ""
            shown = self._shown[key] = escape_key(renamed.data) + cut
        return shown

    def press(self, key: str, at: float) -> Action | None:
        """Take a key press; return the action that the program must do."""
        self.message = ""
        if self.typing:
            self._type(key)
        elif self.help:
            self.help = False
        elif key in _SORTS:
            self.sort = _SORTS[key]
        elif key in _KINDS:
            self._go(ListFocus(_KINDS[key]), forget=True)
        elif key in ("up", "down", "page up", "page down", "home", "end"):
            self._move(key)
        elif key in ("enter", "right"):
            self._drill()
        elif key in ("escape", "left", "backspace"):
            self._leave()
        elif key in ("p", " "):
            self._pause(at)
        elif key == "/":
            self.typing = True
        elif key == "?":
            self.help = True
        elif key in ("q", "s"):
            return Action.QUIT if key == "q" else Action.SAVE
        return None

    def _type(self, key: str) -> None:
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing, self.filter = False, ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1:
            self.filter += key

    def _move(self, key: str) -> None:
        steps = {"up": -1, "down": 1, "page up": -_PAGE, "page down": _PAGE, "home": -len(self._rows)}
        index = self.cursor + steps.get(key, len(self._rows))
        if self._rows:
            self._selected = self._rows[min(max(index, 0), len(self._rows) - 1)].ident

    def _drill(self) -> None:
        if not self._rows:
            return
        ident = self._rows[self.cursor].ident
        if isinstance(ident, Key):
            self._go(ListFocus(ListKind.HOSTS, key=ident))
        elif self.focus.kind is ListKind.TEMPLATES:
            self._go(ListFocus(ListKind.KEYS, template=ident))
        else:
            self._go(ListFocus(ListKind.KEYS, host=ident))

    def _go(self, focus: ListFocus, *, forget: bool = False) -> None:
        self._back = [] if forget else [*self._back, (self.focus, self.filter, self._selected)]
        self.focus, self.filter, self._selected = focus, "", None

    def _leave(self) -> None:
        if self.filter:
            self.filter = ""
        elif self._back:
            self.focus, self.filter, self._selected = self._back.pop()

    def _pause(self, at: float) -> None:
        if self.paused_at is None:
            self.paused_at = at
            return
        self.paused_at = None
        for event, then in self._queued:
            self.fleet.take(event, then)
        self._queued = []

    def _learn_families(self, at: float) -> None:
        if self.renamed or not self.names:
            return
        if self.focus.kind is ListKind.TEMPLATES:
            complete = ((key.data, known.count.requests) for key, known in self.fleet.keys.items() if not key.truncated)
            self._families = self._learn(dict(nlargest(_LEARNED_KEYS, complete, key=lambda item: item[1])))
            self._learned_at = at
