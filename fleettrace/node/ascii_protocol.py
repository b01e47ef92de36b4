"""Parse memcached's ascii command lines into commands and keys, for the probe kind `command`."""

from __future__ import annotations

from collections.abc import Iterator

from fleettrace.summary.key import KEY_MAX_LENGTH, Key

__all__ = ["requests_of_line"]

# protocol.txt of memcached 1.6: commands with several keys, with an exptime before the keys, and with one key.
_MANY = {b"get": "get", b"gets": "get", b"gat": "touch", b"gats": "touch"}
_SKIP = {b"gat": 1, b"gats": 1}
_ONE = {
    **dict.fromkeys((b"set", b"add", b"replace", b"append", b"prepend", b"cas"), "set"),
    b"delete": "delete",
    b"incr": "arith",
    b"decr": "arith",
    b"touch": "touch",
    b"mg": "get",
    b"ms": "set",
    b"md": "delete",
    b"ma": "arith",
    b"me": "other",
}


def requests_of_line(line: bytes, cut: bool) -> Iterator[tuple[Key, str]]:
    """Yield (key, op) of each request in a line; nothing for a line without a key (`stats`, `version`, `mn`).

    `cut`: the line is incomplete. Its last word may be the beginning of a longer key: that key gets the longest
    possible length, which marks it as truncated.
    """
    words = line.rstrip(b"\r\n").split(b" ")
    verb, rest = words[0], words[1:]
    if verb in _MANY:
        op = _MANY[verb]
        keys = rest[_SKIP.get(verb, 0) :]
    elif verb in _ONE and rest:
        op = _ONE[verb]
        keys = rest[:1]
    else:
        return
    for index, word in enumerate(keys):
        if not word or len(word) > KEY_MAX_LENGTH:
            # memcached refuses a longer key and counts no request.
            continue
        last = cut and index == len(keys) - 1 and len(keys) == len(rest) - _SKIP.get(verb, 0)
        yield (Key(word, KEY_MAX_LENGTH) if last and len(word) < KEY_MAX_LENGTH else Key.whole(word)), op
