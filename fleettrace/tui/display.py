"""The live display of a sweep: a screen in a thread of its own, from the sweep's first event to its last.

The sweep runs in the main thread, which receives signals. Whatever happens to the display, the terminal is restored.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Event, RunFinished
from fleettrace.tui.frame import frame
from fleettrace.tui.screen import TerminalScreen
from fleettrace.tui.view import Action, LiveView

__all__ = ["Keyboard", "LiveDisplay"]


_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;?]*[A-Za-z~]|O[A-Za-z])")

_BEGUN = re.compile(rb"\x1b(?:\[[0-9;?]*|O)?\Z")

_NAMES = {
    sequence.encode(): name
    for name, sequences in {
        "up": "\x1b[A \x1bOA",
        "down": "\x1b[B \x1bOB",
        "right": "\x1b[C \x1bOC",
        "left": "\x1b[D \x1bOD",
        "page up": "\x1b[5~",
        "page down": "\x1b[6~",
        "home": "\x1b[H \x1bOH \x1b[1~",
        "end": "\x1b[F \x1bOF \x1b[4~",
    }.items()
    for sequence in sequences.split()
}

"""The sequences of xterm and compatible terminals, in both cursor key modes."""

_CONTROLS = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x0c": "redraw", "\x04": "q"}


class Keyboard:
    """Decodes key presses; a sequence may arrive in several reads."""

    def __init__(self) -> None:
        self._rest = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    @property
    def waiting(self) -> bool:
        """Whether the start of a sequence has arrived, but not its end."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that `data` completes: a character, or a name such as `up`. Unknown sequences are ignored."""
        keys: list[str] = []
        data = self._rest + data
        self._rest = b""
        while data:
            if data[:1] != b"\x1b":
                text, data = data[:1], data[1:]
                keys += [_CONTROLS.get(char, char) for char in self._decoder.decode(text)]
            elif (found := _SEQUENCE.match(data)) is not None:
                keys += [_NAMES[found[0]]] if found[0] in _NAMES else []
                data = data[found.end() :]
            elif _BEGUN.match(data):
                self._rest, data = data, b""
            else:
                keys.append("escape")
                data = data[1:]
        return [key for key in keys if len(key) > 1 or key.isprintable()]

    def pause(self) -> list[str]:
        """Take a pause in the input: an Escape without a sequence is the key itself."""
        begun, self._rest = self._rest, b""
        return ["escape"] if begun else []


_REFRESH_S = 1.0

"""Seconds between two screens: slices come once a second. A key press is answered at once."""


_ESCAPE_S = 0.1

"""Seconds after which an Escape is the key itself, and not the beginning of an arrow's sequence."""


_JOIN_S = 10.0

"""Seconds to wait for the terminal to be restored: a blocked terminal must not keep the report from its file."""


class LiveDisplay:
    """Draws a view while the sweep runs, and passes key presses to it.

    `check_writable` raises `ConfigError` for a path that cannot be written.
    """

    def __init__(self, view: LiveView, check_writable: Callable[[str], None]) -> None:
        self.save_as: Path | None = None
        """Where the user asked to save the run."""
        self.result: RunResult | None = None
        self.failure: Exception | None = None
        """The error that ended the display, and with it the sweep."""
        self._view = view
        self._check_writable = check_writable
        self._lock = threading.Lock()
        self._over, self._over_writer = os.pipe()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)

    def listen(self, event: Event) -> None:
        """Take an event of the sweep. The last one restores the terminal, before the report is written."""
        with self._lock:
            self._view.take(event, time.monotonic())
        if isinstance(event, RunFinished):
            self.result = event.result
            self._end()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the display while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            os.close(self._over_writer)
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            with TerminalScreen(sys.stdin.fileno(), sys.stderr.fileno()) as screen:
                self._show(screen)
        except (Exception, termios.error) as error:
            self.failure = error
            self._stop_sweep(signal.SIGINT)

    def _show(self, screen: TerminalScreen) -> None:
        keyboard = Keyboard()
        unicode = (sys.stderr.encoding or "ascii").lower().replace("-", "") == "utf8"
        anew, drawn_at = False, 0.0
        while not select.select([self._over], [], [], 0)[0]:
            now = time.monotonic()
            columns, lines = screen.size
            with self._lock:
                shown = frame(self._view, columns, lines, now, unicode=unicode)
            screen.draw(shown, anew=anew)
            drawn_at = now
            pressed: list[str] = []
            while not pressed and (left := drawn_at + _REFRESH_S - time.monotonic()) > 0:
                typed = screen.read(min(left, _ESCAPE_S) if keyboard.waiting else left, self._over)
                if typed is None:
                    pressed = ["q"]  # The terminal is gone.
                elif typed:
                    pressed = keyboard.feed(typed)
                elif select.select([self._over], [], [], 0)[0]:
                    return
                else:
                    pressed = keyboard.pause()
            anew = "redraw" in pressed
            for key in pressed:
                self._press(key)

    def _press(self, key: str) -> None:
        with self._lock:
            action = self._view.press(key, time.monotonic())
            if action is Action.SAVE:
                self._view.message = self._save()
            elif action is Action.QUIT:
                self._view.message = "ending the traces and collecting their results; q again to give up"
        if action is Action.QUIT:
            self._stop_sweep(signal.SIGUSR1)

    def _save(self) -> str:
        """Arrange for the run to be saved at its end; return the message for the user."""
        path = Path.cwd() / f"fleettrace-{self._view.fleet.run}.json"
        try:
            self._check_writable(str(path))
        except ConfigError as error:
            return str(error)
        self.save_as = path
        return f"the run will be saved as {path.name} when it ends"

    def _stop_sweep(self, how: signal.Signals) -> None:
        """Signal the main thread: it ends the traces, and reports what they have."""
        if self.result is None:
            os.kill(os.getpid(), how)
