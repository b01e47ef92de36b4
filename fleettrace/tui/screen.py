"""The terminal of `fleettrace top`: set up, redrawn by the lines that changed, and always restored."""

from __future__ import annotations

import os
import select
import termios
import tty
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from fleettrace.tui.frame import Line

__all__ = ["TerminalScreen"]

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
"""The alternate screen, which preserves the previous contents; no cursor."""
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
_STYLES = {"": "", "bold": "\x1b[1m", "dim": "\x1b[2m", "reverse": "\x1b[7m"}


class TerminalScreen:
    """The terminal of two descriptors. The block owns it; Ctrl-C still sends SIGINT."""

    def __init__(self, keys: int, out: int) -> None:
        self._keys = keys
        self._out = out
        self._before: list[Any] = []
        self._drawn: list[Line] = []
        self._size = (0, 0)

    def __enter__(self) -> TerminalScreen:
        self._before = termios.tcgetattr(self._keys)
        tty.setcbreak(self._keys, termios.TCSADRAIN)
        mode = termios.tcgetattr(self._keys)
        # A suspended process would leave the alternate screen to the shell.
        mode[6][termios.VSUSP] = os.fpathconf(self._keys, "PC_VDISABLE").to_bytes(1, "little")
        # Control-S would block the display, and with it the end of the trace.
        mode[0] &= ~termios.IXON
        termios.tcsetattr(self._keys, termios.TCSADRAIN, mode)
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._write(_LEAVE)
        finally:
            # Unread key presses must not become a command of the shell.
            termios.tcsetattr(self._keys, termios.TCSAFLUSH, self._before)

    @property
    def size(self) -> tuple[int, int]:
        """The columns and lines of the terminal."""
        columns, lines = os.get_terminal_size(self._out)
        return (columns or 80, lines or 24)

    def read(self, seconds: float, wake: int) -> bytes | None:
        """Return the bytes typed within `seconds`: empty when none or when `wake` is readable, None at the end."""
        ready, _, _ = select.select([self._keys, wake], [], [], max(seconds, 0.0))
        return b"" if self._keys not in ready else os.read(self._keys, 1024) or None

    def draw(self, lines: Sequence[Line], *, anew: bool = False) -> None:
        """Show these lines, at most as many as the terminal has; send only those that changed."""
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
