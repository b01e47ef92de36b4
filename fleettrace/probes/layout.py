"""How a key of up to 250 bytes goes into a map of any version of bpftrace.

The time a probe takes grows with the size of the map's key, whatever the length of memcached's. So short keys, which
are the rule, have a map of their own, and long ones another.

A short key is read as integers, eight bytes each. Strings would do for text, but str() stops at a NUL, and keys of the
binary protocol and the meta protocol's base64 keys hold any byte: of 1,500 packed ids it makes one key. Integers are
also the same in every version of bpftrace, and no verifier has a length to follow. The last integer ends where the key
ends: it is read from there backwards, shifted, and no byte behind the key is looked at.

A long key would take too many integers (BPF's stack has 512 bytes) and stands in several strings side by side, for old
versions refuse strings over 200 bytes. One that holds a NUL is known up to there, and marked as cut.

The length of such a string varies, and the kernel's verifier must see that it is bounded. str(p, n) bounds n at
BPFTRACE_STRLEN=S by itself, and up to 0.23.2 the string then has at most S - 1 bytes. Programs for releases before 0.23
rely on that: where such a program bounds n as well, the compiler moves the comparison to where the verifiers of Linux
5.10 to 6.12 no longer follow it (`R2 min value is negative`, seen with 0.11.3 and 0.17). In 0.27.1 the string has S
bytes, so programs for 0.23 on bound n before that.
"""

from __future__ import annotations

from fleettrace.probes.model import WORD, Bound, KeyLayout

__all__ = ["key_expression", "key_layout", "key_sizes", "word_expression", "word_statements"]

Version = tuple[int, int, int]

_SHORT_STR = (0, 23, 0)
"""From here on str(p, n) keeps one of the n bytes for its NUL: n - 1 bytes of the string come through."""
_BOUNDS = {False: (Bound.BPFTRACE, Bound.CONDITION), True: (Bound.CONDITION, Bound.BRANCH)}
"""Before that and from there on: the way that suits it best, and the other one."""
_UPTR = (0, 12, 0)
"""The first release with uptr() (its CHANGELOG)."""
_PIECE, _PIECES = 71, 4


def key_layout(version: Version, *, other_bound: bool = False) -> KeyLayout:
    """Return the layout for the bpftrace of this version. With `other_bound`, the lengths of strings are bounded in the
    other way than the one that suits the version best."""
    new = version >= _SHORT_STR
    bound = _BOUNDS[new][other_bound]
    return KeyLayout(_PIECE, _PIECES, _PIECE + 1, plus_one=new, bound=bound, uptr=version >= _UPTR)


def word_statements(layout: KeyLayout, *, anywhere: bool = False) -> str:
    """Return the bpftrace statements that read a short key of `$length` bytes at `$key` into `$w0`, `$w1` and so on.

    What a key is too short for is 0. `anywhere` is for probes that are not in a process's own code, such as
    tracepoints: there, new versions take an address for one of the kernel's.
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
        whole = read(f"$key + {start}" if start else "$key")
        lines.append(f"if ($length <= {end}) {{ {last} }} else {{ $w{number} = {whole};")
    return "\n\t\t\t".join(lines) + " }" * (layout.words - 1)


def word_expression(layout: KeyLayout) -> str:
    """Return the part of a map's key that holds a short key, once `word_statements` have read it."""
    return ", ".join(f"$w{number}" for number in range(layout.words))


def key_expression(layout: KeyLayout, *, any_length: bool = False, anywhere: bool = False) -> str:
    """The bpftrace expression for a long key of `$length` bytes at `$key`, as several strings of a map's key.

    It needs the variables of `key_sizes`, and so it does for a key of `any_length`. No string is asked to go past the
    key's end: what is behind it is not ours to read. `anywhere` is as in `word_statements`.
    """
    more = _more(layout)

    def text(start: int, size: str) -> str:
        address = f"$key + {start}" if start else "$key"
        # Old versions find the process's memory by themselves, and refuse uptr() of what has no type yet.
        return f"str(uptr({address}), {size})" if anywhere and more else f"str({address}, {size})"

    most = layout.piece + more

    def bounded(size: str) -> str:
        return f"{size} > {most} ? {most} : {size}" if layout.bound is Bound.CONDITION else size

    first = text(0, bounded("$n0") if any_length else str(most))
    rest = (text(number * layout.piece, bounded(f"$n{number}")) for number in range(1, layout.pieces))
    return ", ".join([first, *rest])


def key_sizes(layout: KeyLayout, *, any_length: bool = False) -> str:
    """Return the bpftrace statements that set what the parts of a long key are asked for, `$n1` and so on: all that is
    left of the key there, which may be more than the part holds. (bpftrace 0.23.2 crashes on a conditional inside
    another.) For a key of `any_length` the first part has its `$n0` too."""
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
