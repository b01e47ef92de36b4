"""`fleettrace top`: the same as run, live on a terminal, ending with the trace and the report.

The sweep runs in the main thread, which signals come to; the display has a thread of its own. Whatever becomes of the
display, the terminal is given back and the report is written.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from fleettrace.cli import run
from fleettrace.cli.live.frame import frame
from fleettrace.cli.live.keyboard import Keyboard
from fleettrace.cli.live.screen import Screen
from fleettrace.cli.live.view import Action, LiveView
from fleettrace.cli.output import check_writable, report_writer
from fleettrace.cli.redaction import Redaction, redaction
from fleettrace.errors import ConfigError
from fleettrace.report.formats import Output
from fleettrace.report.redact import Redact, Redactor
from fleettrace.report.templates import Templates
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Event, RunFinished

__all__ = ["command"]

_REFRESH_S = 1.0
"""Seconds between two screens: slices come once a second. A key press is answered at once."""

_ESCAPE_S = 0.1
"""Seconds after which an Escape is the key itself, and not the beginning of an arrow."""

_LAST_S = 10.0
"""Seconds that the terminal has to be given back in."""


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code: 0 too where the trace was ended by `q`."""
    hidden, wanted = redaction(arguments), report_writer(arguments)
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        raise ConfigError("top needs a terminal to draw on and to take keys from: use `fleettrace run`")
    display = _Display(live_view(arguments.hosts, hidden))
    try:
        with display.shown():
            code = run.trace(arguments, hidden, wanted.write, display=display.listen)
    finally:
        if display.save_as is not None and display.result is not None:
            in_json = replace(wanted, output=Output.JSON, out=str(display.save_as), html=None, prometheus_keys=False)
            in_json.write(*hidden.apply(display.result))
            print(f"fleettrace: saved as {display.save_as}", file=sys.stderr)
    if isinstance(display.failure, termios.error):
        raise ConfigError(f"the terminal cannot be set up for top ({display.failure}): use `fleettrace run`")
    if display.failure is not None:
        raise display.failure
    return code


def live_view(pattern: str, hidden: Redaction) -> LiveView:
    """A view that shows no more of names than is allowed.

    While keys still come in, what is constant in a family cannot be told for sure: until the report, pseudonyms stand
    for whole names with `--redact=template` too.
    """
    rename = None if hidden.how in (None, Redact.DROP) else Redactor(hidden.secret).key
    learn: Callable[[dict[bytes, int]], Templates] = partial(Templates.learn, user_patterns=hidden.patterns)
    return LiveView(pattern, rename=rename, names=hidden.how is not Redact.DROP, learn=learn)


class _Display:
    """The screen of a sweep, in a thread of its own from the first event to the last."""

    def __init__(self, view: LiveView) -> None:
        self.save_as: Path | None = None
        self.result: RunResult | None = None
        self.failure: Exception | None = None
        """What broke the display, if anything did; the sweep was ended then."""
        self._view = view
        self._lock = threading.Lock()
        self._over, self._tell_over = os.pipe()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)

    def listen(self, event: Event) -> None:
        """Hear of the sweep; when it is over the terminal is given back before the report is written."""
        with self._lock:
            self._view.take(event, time.monotonic())
        if isinstance(event, RunFinished):
            self.result = event.result
            self._end()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While the sweep goes on."""
        self._thread.start()
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            os.close(self._tell_over)
            # A terminal that takes nothing any more must not keep the report from its file.
            self._thread.join(_LAST_S)

    def _run(self) -> None:
        try:
            with Screen(sys.stdin.fileno(), sys.stderr.fileno()) as screen:
                self._show(screen)
        except (Exception, termios.error) as error:
            self.failure = error
            self._stop_sweep(signal.SIGINT)

    def _show(self, screen: Screen) -> None:
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
                    pressed = ["q"]  # Nobody is there any more.
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
                self._view.message = "ending the traces and collecting what they have; q again to give up"
        if action is Action.QUIT:
            self._stop_sweep(signal.SIGUSR1)

    def _save(self) -> str:
        """Arrange for the run to be saved; gives what is to be said of it."""
        place = Path.cwd() / f"fleettrace-{self._view.fleet.run}.json"
        try:
            check_writable(str(place))
        except ConfigError as error:
            return str(error)
        self.save_as = place
        return f"the run will be saved as {place.name} when it ends"

    def _stop_sweep(self, how: signal.Signals) -> None:
        """The main thread's handler ends the traces, and what they have is reported."""
        if self.result is None:
            os.kill(os.getpid(), how)
