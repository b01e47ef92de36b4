r"""Names are data: what clients and nodes chose, made harmless to look at.

A key is bytes that anybody who can reach a memcached may choose, and a path, an image or an error message comes from a
node. Before any of it reaches a terminal, a spreadsheet or a chat, everything that could move the cursor, hide, reorder
or break the line is written out as an escape; markup of the target is the target's own module's task.

The escaped form of a key is injective, so two keys never look the same because of their escapes:

    \\      a backslash             \n \r \t    what they say
    \xNN    one byte: a control character, a byte that is not UTF-8, a space at either end
    \uNNNN, \UNNNNNNNN    a character that is invisible or acts on its neighbours
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["escape_key", "escape_markdown", "escape_text", "is_plain", "shorten", "unescape_key"]

_SAFE_ASCII = re.compile(rb"[!-\[\]-~](?:[ -\[\]-~]*[!-\[\]-~])?")
"""Printable ASCII without a backslash, and without a space at either end: most keys, told in one step."""

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols by their category, which are drawn as nothing: Hangul fillers and the empty Braille pattern."""

_MARKS_IN_A_ROW = 2
"""Combining marks that real scripts put on one letter; more than that climb over the neighbouring lines."""

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([nrt\\]))")


def is_plain(data: bytes) -> bool:
    """Whether the bytes are UTF-8 in which every character is visible: text that may be shown as it is."""
    if _SAFE_ASCII.fullmatch(data):
        return True
    text = data.decode("utf-8", "replace")
    return "".join(_pieces(data.decode("utf-8", "surrogateescape"))) == text.replace("\\", "\\\\")


def escape_key(data: bytes) -> str:
    """The key as one line of visible characters. `unescape_key` gives the bytes back."""
    if _SAFE_ASCII.fullmatch(data):
        return data.decode("ascii")
    shown = "".join(_pieces(data.decode("utf-8", "surrogateescape")))
    if shown.startswith(" "):
        shown = "\\x20" + shown[1:]
    if shown.endswith(" "):
        shown = shown[:-1] + "\\x20"
    return shown


def unescape_key(shown: str) -> bytes:
    """The bytes that `escape_key` made `shown` of. Raises ValueError when it cannot have."""
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
    """Words that came from elsewhere (a message, a path, a name) as one harmless line.

    Backslashes stay as they are: this is for reading, not for turning back.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(part if part != "\\\\" else "\\" for part in _pieces(text))


def escape_markdown(shown: str) -> str:
    """An escaped name as a code span for a cell of a Markdown table, whatever backticks and pipes it holds.

    GitHub splits cells at pipes before it looks for code spans, and takes a backslash before a pipe away again.
    """
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{padding}{shown}{padding}{fence}".replace("|", "\\|") if shown else ""


def shorten(shown: str, cells: int, ellipsis: str = "…") -> str:
    """`shown` in at most `cells` cells of a terminal, cut in its middle: keys differ at their ends.

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
    """The longest beginning of `text` that fits into `cells`."""
    from rich.cells import cell_len

    end, used = 0, 0
    for char in text:
        used += cell_len(char)
        if used > cells:
            break
        end += 1
    return text[:end]


def _pieces(text: str) -> list[str]:
    """Each character of `text`, those that are not safe to show as an escape."""
    pieces: list[str] = []
    trends = _MARKS_IN_A_ROW
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
            trends += 1
            pieces.append(char if trends <= _MARKS_IN_A_ROW and not _is_selector(char) else _escaped(char))
            continue
        safe = char.isprintable() and char not in _BLANK and char != "\\"
        # A mark needs a letter to sit on; after an escape it would sit on the escape's last digit.
        trends = 0 if safe and char != " " else _MARKS_IN_A_ROW
        pieces.append(char if safe else _escaped(char))
    return pieces


def _is_selector(char: str) -> bool:
    """Whether it is a variation selector (U+FE00-FE0F, U+E0100-E01EF): a mark that is never seen."""
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
