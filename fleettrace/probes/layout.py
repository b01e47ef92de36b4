"""How a key of up to 250 bytes goes into a map of any version of bpftrace.

Old versions refuse strings over 200 bytes (BPF's stack has 512), and the time a probe takes grows with the size of the
map's key, whatever the length of memcached's. So short keys, which are the rule, go into one string of a map of their
own, and long ones into several strings side by side in a second map. With BPFTRACE_STRLEN=S, a string has at most S - 1
bytes, or S (seen in 0.27.1): so no string is left to be cut by that limit.
"""

from __future__ import annotations

from fleettrace.probes.model import KeyLayout

__all__ = ["key_expression", "key_layout", "key_sizes"]

Version = tuple[int, int, int]

_SHORT_STR = (0, 23, 0)
"""From here on str(p, n) keeps one of the n bytes for its NUL: n - 1 bytes of the string come through."""


def key_layout(version: Version, *, one_string: bool = False) -> KeyLayout:
    """The layout for the bpftrace of this version; with `one_string`, one that gives a whole line as much as it can."""
    plus_one = version >= _SHORT_STR
    if one_string:
        return KeyLayout(piece=199, pieces=1, strlen=200, plus_one=plus_one)
    return KeyLayout(piece=71, pieces=4, strlen=72, plus_one=plus_one)


def key_expression(
    layout: KeyLayout, pieces: int, *, ends_with_nul: bool = False, any_length: bool = False, anywhere: bool = False
) -> str:
    """The bpftrace expression for a key of `$length` bytes at `$key`, as that many parts of a map's key.

    One part is for a short key. Several are for a long one, or for one of `any_length`, and need the variables of
    `key_sizes`. No string is asked to go past the key's end: what is behind it is not ours to read. A text that
    `ends_with_nul` is read as one string whatever its length, for only that stops there. `anywhere` is for probes that
    are not in a process's own code, such as tracepoints: there, new versions take an address for one of the kernel's.
    """
    if ends_with_nul:
        return "str($key)"
    more = _more(layout)

    def text(start: int, size: str) -> str:
        address = f"$key + {start}" if start else "$key"
        # Old versions find the process's memory by themselves, and refuse uptr() of what has no type yet.
        return f"str(uptr({address}), {size})" if anywhere and more else f"str({address}, {size})"

    whole = "$length + 1" if more else "$length"
    if pieces == 1:
        return text(0, whole)
    most = layout.piece + more
    first = text(0, f"$length > {layout.piece} ? {most} : {whole}" if any_length else str(most))
    rest = [text(number * layout.piece, f"$n{number} > {most} ? {most} : $n{number}") for number in range(1, pieces)]
    return ", ".join([first, *rest])


def key_sizes(layout: KeyLayout) -> str:
    """The bpftrace statements that set what the parts of a long key are asked for, `$n1` and so on: all that is left of
    the key there, which may be more than the part holds. (bpftrace 0.23.2 crashes on a conditional inside another.)"""
    more = _more(layout)
    statements = []
    for number in range(1, layout.pieces):
        start = number * layout.piece
        rest = f"$length - {start - more}" if start != more else "$length"
        statements.append(f"$n{number} = $length > {start} ? {rest} : {more};")
    return " ".join(statements)


def _more(layout: KeyLayout) -> int:
    return 1 if layout.plus_one else 0
