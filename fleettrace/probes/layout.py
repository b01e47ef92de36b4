"""Lay out a key of up to 250 bytes in a map's key, for any version of bpftrace.

A probe's time grows with the size of the map's key, not with the length of memcached's key. Most keys are short, so
short keys have a map of their own, and long keys another.

The program reads a short key as integers of eight bytes. Strings would do for text, but str() stops at a NUL, and keys
of the binary protocol and base64 keys of the meta protocol hold any byte: 1,500 packed ids would become one key.
Integers are also the same in every version of bpftrace, and the verifier has no length to follow. The last integer
ends where the key ends: the program reads it backwards from there and shifts it, so it uses no byte behind the key.

A long key would need too many integers (BPF's stack has 512 bytes). It takes several strings, because old versions
refuse strings over 200 bytes. A long key that holds a NUL is known up to the NUL, and marked as truncated.

The length of such a string varies, and the kernel's verifier must see that it is bounded. str(p, n) bounds n at
BPFTRACE_STRLEN=S by itself, and up to 0.23.2 the string then has at most S - 1 bytes. Programs for releases before 0.23
rely on that: if such a program bounds n too, the compiler moves the comparison to where the verifiers of Linux 5.10 to
6.12 no longer follow it (`R2 min value is negative`, seen with 0.11.3 and 0.17). In 0.27.1 the string has S bytes, so
programs for 0.23 and later bound n themselves.
"""

from __future__ import annotations

from fleettrace.probes.model import WORD, Bound, KeyLayout

__all__ = ["key_expression", "key_layout", "key_sizes", "word_expression", "word_statements"]

Version = tuple[int, int, int]

_SHORT_STR = (0, 23, 0)
"""From this release on str(p, n) returns n - 1 bytes and a NUL."""
_BOUNDS = {False: (Bound.BPFTRACE, Bound.CONDITION), True: (Bound.CONDITION, Bound.BRANCH)}
"""By whether the release is 0.23 or later: the preferred way to bound a length, and the other one."""
_UPTR = (0, 12, 0)
"""The first release with uptr() (its CHANGELOG)."""
_PIECE, _PIECES = 71, 4


def key_layout(version: Version, *, other_bound: bool = False) -> KeyLayout:
    """Return the layout for this version of bpftrace.

    With `other_bound` the program bounds the lengths of strings in the other way than the preferred one.
    """
    new = version >= _SHORT_STR
    bound = _BOUNDS[new][other_bound]
    return KeyLayout(_PIECE, _PIECES, _PIECE + 1, plus_one=new, bound=bound, uptr=version >= _UPTR)


def word_statements(layout: KeyLayout, *, anywhere: bool = False) -> str:
    """Return the bpftrace statements that read a short key of `$length` bytes at `$key` into `$w0`, `$w1` and so on.

    Integers behind the key's end are 0. `anywhere` is for probes outside a process's own code, such as tracepoints:
    there new versions take an address for a kernel address.
    """
    user = "uptr" if anywhere and layout.uptr else ""

    def read(address: str) -> str:
        return f"*(uint64*){user}({address})"

    zeros = " ".join(f"$w{number} = (uint64)0;" for number in range(layout.words))
    lines = [f"{zeros} $last = {read(f'$key + $length - {WORD}')};"]
    for number in range(layout.words):
        start, end = number * WORD, (number + 1) * WORD
        last = f"$w{number} = $last >> ({8 * end} - $length * 8);"
        if number == layout.words - 1:
            lines.append(last)
            break
        integer = read(f"$key + {start}" if start else "$key")
        lines.append(f"if ($length <= {end}) {{ {last} }} else {{ $w{number} = {integer};")
    return "\n\t\t\t".join(lines) + " }" * (layout.words - 1)


def word_expression(layout: KeyLayout) -> str:
    """Return the part of a map's key that holds a short key, once `word_statements` have read it."""
    return ", ".join(f"$w{number}" for number in range(layout.words))


def key_expression(layout: KeyLayout, *, any_length: bool = False, anywhere: bool = False) -> str:
    """Return the bpftrace expression for a long key of `$length` bytes at `$key`, as several strings of a map's key.

    It uses the variables that `key_sizes` sets, also for a key of `any_length`. No string reads past the key's end:
    other clients' values may lie there. `anywhere` is as in `word_statements`.
    """
    more = _more(layout)

    def text(start: int, size: str) -> str:
        address = f"$key + {start}" if start else "$key"
        # Old versions read the process's memory without uptr(), and refuse uptr() of an untyped value.
        return f"str(uptr({address}), {size})" if anywhere and more else f"str({address}, {size})"

    most = layout.piece + more

    def bounded(size: str) -> str:
        return f"{size} > {most} ? {most} : {size}" if layout.bound is Bound.CONDITION else size

    first = text(0, bounded("$n0") if any_length else str(most))
    rest = (text(number * layout.piece, bounded(f"$n{number}")) for number in range(1, layout.pieces))
    return ", ".join([first, *rest])


def key_sizes(layout: KeyLayout, *, any_length: bool = False) -> str:
    """Return the bpftrace statements that set the lengths asked of the strings of a long key, `$n1` and so on.

    Each is the rest of the key from there, which may be more than the string holds: bpftrace 0.23.2 crashes on nested
    conditionals. For a key of `any_length` the first string has a variable `$n0` too.
    """
    more = _more(layout)
    most = layout.piece + more
    statements = []
    for number in range(0 if any_length else 1, layout.pieces):
        start = number * layout.piece
        rest = "$length" if start == more else f"$length {'-' if start > more else '+'} {abs(start - more)}"
        statements.append(f"$n{number} = $length > {start} ? {rest} : {more};" if start else f"$n0 = {rest};")
        if layout.bound is Bound.BRANCH:
            statements.append(f"if ($n{number} > {most}) {{ $n{number} = {most}; }}")
    return " ".join(statements)


def _more(layout: KeyLayout) -> int:
    return 1 if layout.plus_one else 0
