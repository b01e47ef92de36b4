"""How a key of up to 250 bytes goes into a map of any version of bpftrace.

Old versions refuse strings over 200 bytes (BPF's stack has 512), and the time a probe takes grows with the size of the
map's key, whatever the length of memcached's. So short keys, which are the rule, go into one string of a map of their
own, and long ones into several strings side by side in a second map.

The length of such a string varies, and the kernel's verifier must see that it is bounded. str(p, n) bounds n at
BPFTRACE_STRLEN=S by itself, and up to 0.23.2 the string then has at most S - 1 bytes. Programs for releases before 0.23
rely on that: where such a program bounds n as well, the compiler moves the comparison to where the verifiers of Linux
5.10 to 6.12 no longer follow it (`R2 min value is negative`, seen with 0.11.3 and 0.17). In 0.27.1 the string has S
bytes, so programs for 0.23 on bound n before that.
"""

from __future__ import annotations

from fleettrace.probes.model import Bound, KeyLayout

__all__ = ["key_expression", "key_layout", "key_sizes"]

Version = tuple[int, int, int]

_SHORT_STR = (0, 23, 0)
"""From here on str(p, n) keeps one of the n bytes for its NUL: n - 1 bytes of the string come through."""
_BOUNDS = {False: (Bound.BPFTRACE, Bound.CONDITION), True: (Bound.CONDITION, Bound.BRANCH)}
"""Before that and from there on: the way that suits it best, and the other one."""
_UPTR = (0, 12, 0)
"""The first release with uptr() (its CHANGELOG)."""


def key_layout(version: Version, *, one_string: bool = False, other_bound: bool = False) -> KeyLayout:
    """Return the layout for the bpftrace of this version.

    With `one_string`, it is one that gives a whole line as much as it can. With `other_bound`, the lengths of strings
    are bounded in the other way than the one that suits the version best.
    """
    new = version >= _SHORT_STR
    piece, pieces = (199, 1) if one_string else (71, 4)
    return KeyLayout(piece, pieces, piece + 1, plus_one=new, bound=_BOUNDS[new][other_bound], uptr=version >= _UPTR)


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

    most = layout.piece + more

    def bounded(size: str) -> str:
        return f"{size} > {most} ? {most} : {size}" if layout.bound is Bound.CONDITION else size

    if pieces == 1:
        return text(0, "$length + 1" if more else "$length")
    first = text(0, bounded("$n0") if any_length else str(most))
    return ", ".join([first, *(text(number * layout.piece, bounded(f"$n{number}")) for number in range(1, pieces))])


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
