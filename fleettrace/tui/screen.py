"""The terminal of `fleettrace top`: taken over, redrawn by the lines that changed, and always given back."""

from __future__ import annotations

import os
import select
import termios
import tty
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from fleettrace.tui.frame import Line

__all__ = ["Screen"]

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
"""The alternate screen, which leaves what stood there before alone; no cursor."""
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
_STYLES = {"": "", "bold": "\x1b[1m", "dim": "\x1b[2m", "reverse": "\x1b[7m"}


class Screen:
    """The terminal behind two descriptors. Inside the block it is ours; Ctrl-C stays the signal that it is."""

    def __init__(self, keys: int, out: int) -> None:
        self._keys = keys
        self._out = out
        self._before: list[Any] = []
        self._drawn: list[Line] = []
        self._size = (0, 0)

    def __enter__(self) -> Screen:
        self._before = termios.tcgetattr(self._keys)
        tty.setcbreak(self._keys, termios.TCSADRAIN)
        ours = termios.tcgetattr(self._keys)
        # Suspended, it would leave its screen to the shell.
        ours[6][termios.VSUSP] = os.fpathconf(self._keys, "PC_VDISABLE").to_bytes(1, "little")
        # Held by Control-S, it would hold the end of the trace too.
        ours[0] &= ~termios.IXON
        termios.tcsetattr(self._keys, termios.TCSADRAIN, ours)
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._write(_LEAVE)
        finally:
            # What was typed and not read must not become a command of the shell's.
            termios.tcsetattr(self._keys, termios.TCSAFLUSH, self._before)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        columns, lines = os.get_terminal_size(self._out)
        return (columns or 80, lines or 24)

    def read(self, seconds: float, wake: int) -> bytes | None:
        """What was typed within that time; nothing when the time is over or `wake` can be read, None at the end."""
        ready, _, _ = select.select([self._keys, wake], [], [], max(seconds, 0.0))
        return b"" if self._keys not in ready else os.read(self._keys, 1024) or None

    def draw(self, lines: Sequence[Line], *, anew: bool = False) -> None:
        """Show these lines, as many as the terminal has; only what differs from before is sent."""
        if anew or self.size != self._size:
            self._size, self._drawn = self.size, []
        out = [] if self._drawn else ["\x1b[2J"]
        out += self._changes(lines)
        self._drawn = list(lines)
        if out:
            self._write("".join(out))

    def _changes(self, lines: Sequence[Line]) -> Iterable[str]:
        for row, line in enumerate(lines):
            if row >= len(self._drawn) or self._drawn[row] != line:
                yield f"\x1b[{row + 1};1H\x1b[2K{_STYLES[line.style]}{line.text}\x1b[0m"
        if len(lines) < len(self._drawn):
            yield f"\x1b[{len(lines) + 1};1H\x1b[J"

    def _write(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._out, data) :]
