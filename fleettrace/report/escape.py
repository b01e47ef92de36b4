r"""Escape names that clients and nodes chose, so that they are safe to display.

Any client of a memcached instance can choose the bytes of a key, and paths, image names and error messages come from
nodes. Before they reach a terminal, a spreadsheet or a chat, this module escapes every character that could move the
cursor, hide, reorder or break text. Markup of the target format is the task of that format's module.

The escaped form of a key is injective, so escapes never make two keys look alike:

    \\      a backslash             \n \r \t    newline, carriage return, tab
    \xNN    one byte: a control character, a byte that is not UTF-8, a space at either end
    \uNNNN, \UNNNNNNNN    a character that is invisible or acts on its neighbours
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["escape_key", "escape_markdown", "escape_text", "is_plain", "shorten", "unescape_key"]

_SAFE_ASCII = re.compile(rb"[!-\[\]-~](?:[ -\[\]-~]*[!-\[\]-~])?")
"""Printable ASCII without a backslash, and without a space at either end: the fast path for most keys."""

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Invisible letters and symbols, by Unicode category: Hangul fillers and the empty Braille pattern."""

_MARKS_IN_A_ROW = 2
"""The most combining marks on one letter in real scripts; more of them overlap neighboring lines."""

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([nrt\\]))")


def is_plain(data: bytes) -> bool:
    """Return whether the bytes are UTF-8 with only visible characters, which may be shown unescaped."""
    if _SAFE_ASCII.fullmatch(data):
        return True
    text = data.decode("utf-8", "replace")
    return "".join(_pieces(data.decode("utf-8", "surrogateescape"))) == text.replace("\\", "\\\\")


def escape_key(data: bytes) -> str:
    """Return the key as one line of visible characters. `unescape_key` reverses it."""
    if _SAFE_ASCII.fullmatch(data):
        return data.decode("ascii")
    shown = "".join(_pieces(data.decode("utf-8", "surrogateescape")))
    if shown.startswith(" "):
        shown = "\\x20" + shown[1:]
    if shown.endswith(" "):
        shown = shown[:-1] + "\\x20"
    return shown


def unescape_key(shown: str) -> bytes:
    """Return the bytes of which `escape_key` made `shown`. Raises `ValueError` for an invalid escape."""
    out = bytearray()
    position = 0
    while position < len(shown):
        if shown[position] != "\\":
            out += shown[position].encode()
            position += 1
            continue
        found = _ESCAPE.match(shown, position)
        if found is None:
            raise ValueError(f"not an escape at {position}: {shown[position : position + 4]!r}")
        out += _unescaped(found)
        position = found.end()
    return bytes(out)


def _unescaped(found: re.Match[str]) -> bytes:
    byte, short, long, named = found.groups()
    if byte is not None:
        return bytes([int(byte, 16)])
    if named is not None:
        return {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}[named]
    return chr(int(short or long, 16)).encode()


def escape_text(text: str) -> str:
    """Return untrusted text (a message, a path, a name) as one line that is safe to show.

    Backslashes are not escaped, so this cannot be reversed.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(part if part != "\\\\" else "\\" for part in _pieces(text))


def escape_markdown(shown: str) -> str:
    """Return an escaped name as a code span for a cell of a Markdown table.

    GitHub splits cells at pipes before it parses code spans, and removes a backslash before a pipe.
    """
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{padding}{shown}{padding}{fence}".replace("|", "\\|") if shown else ""


def shorten(shown: str, cells: int, ellipsis: str = "…") -> str:
    """Shorten `shown` in its middle to at most `cells` cells of a terminal: keys often differ at their ends.

    Wide characters count as two.
    """
    from rich.cells import cell_len

    if cell_len(shown) <= cells:
        return shown
    room = max(cells - cell_len(ellipsis), 0)
    head = _fit(shown, (room + 1) // 2)
    tail = _fit(shown[::-1], room - cell_len(head))[::-1]
    return f"{head}{ellipsis}{tail}"


def _fit(text: str, cells: int) -> str:
    """Return the longest beginning of `text` that fits into `cells`."""
    from rich.cells import cell_len

    end, used = 0, 0
    for char in text:
        used += cell_len(char)
        if used > cells:
            break
        end += 1
    return text[:end]


def _pieces(text: str) -> list[str]:
    """Return the characters of `text`, each unsafe one as an escape."""
    pieces: list[str] = []
    marks = _MARKS_IN_A_ROW
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
            marks += 1
            pieces.append(char if marks <= _MARKS_IN_A_ROW and not _is_selector(char) else _escaped(char))
            continue
        safe = char.isprintable() and char not in _BLANK and char != "\\"
        # A mark combines with the preceding letter; after an escape it would combine with its last digit.
        marks = 0 if safe and char != " " else _MARKS_IN_A_ROW
        pieces.append(char if safe else _escaped(char))
    return pieces


def _is_selector(char: str) -> bool:
    """Return whether it is a variation selector (U+FE00-FE0F, U+E0100-E01EF), which is invisible."""
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def _escaped(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    point = ord(char)
    if 0xDC80 <= point <= 0xDCFF:  # surrogateescape's form of a byte that is not UTF-8
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"
