"""Decode the bytes of a terminal into key presses. Pure."""

from __future__ import annotations

import codecs
import re

__all__ = ["Keyboard"]

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
