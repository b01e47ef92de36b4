"""The values of the probe selection: what the user requests, and how one binary is traced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fleettrace.probes.tags import Tagging

if TYPE_CHECKING:
    from fleettrace.binary.cheapest import Instruction
    from fleettrace.summary.run import ProbeVerdict

__all__ = [
    "WORD",
    "Asked",
    "Bound",
    "KeyLayout",
    "Overlay",
    "ProbeKind",
    "ProbeOptions",
    "ProbePlan",
    "Script",
    "TraceSettings",
    "UnsupportedError",
    "annotation_types",
]

WORD = 8
"""Bytes of a key in each integer."""


class UnsupportedError(Exception):
    """A binary cannot be traced as requested. The text is the reason, for each probe kind that was tried."""


class ProbeKind(StrEnum):
    """The ways of counting requests, best first (docs/probes.md)."""

    ITEM = "item"
    USDT = "usdt"
    COMMAND = "command"
    SYSCALL = "syscall"
    WATCH = "watch"
    SCRIPT = "script"
    """A program of the user's own (`--script`); never selected automatically."""


class Bound(StrEnum):
    """How a program bounds the length of a string. Kernel verifiers differ in which of these they understand."""

    CONDITION = "condition"
    """A conditional expression in the call of str()."""
    BRANCH = "branch"
    """A branch before the call."""
    BPFTRACE = "bpftrace"
    """The limit of str() itself, S - 1 bytes."""


@dataclass(frozen=True, slots=True)
class KeyLayout:
    """How a map's key holds a memcached key, as integers or as strings (see layout.py)."""

    piece: int
    """Bytes of a long key in each string."""
    pieces: int
    """Strings of a long key."""
    strlen: int
    """The value of BPFTRACE_STRLEN that this needs."""
    plus_one: bool
    """str(p, n) returns n - 1 bytes on this bpftrace (0.23.0 on), so the program asks for one more."""
    bound: Bound = Bound.CONDITION
    """How the program keeps the length of a string of varying length within `piece`."""
    uptr: bool = True
    """This bpftrace has uptr() (0.12.0 on), and needs it to read a user-space address in a tracepoint."""

    words: int = 9
    """Integers of a short key."""

    @property
    def short(self) -> int:
        """Bytes of the longest short key."""
        return self.words * WORD

    @property
    def capacity(self) -> int:
        """Bytes of the longest key that is transmitted completely."""
        return self.piece * self.pieces


@dataclass(frozen=True, slots=True)
class Overlay:
    """A synthetic ELF file that gives instructions a symbol, which only this trace's bpftrace sees."""

    elf: bytes = field(repr=False)
    headers: tuple[tuple[int, str], ...] = ()
    """The binary's own headers (`elf.code_headers`), which turn the symbol's address into a file offset: bpftrace reads
    them there, not in this file (seen with 0.17)."""


@dataclass(frozen=True, slots=True)
class Script:
    """A program of the user's own (see script.py)."""

    name: str
    """The name of its file."""
    text: str = field(repr=False)
    """Without comments; its variables are not filled in yet."""
    counts: str
    """The name of the map of requests by key, without the `@`; `bytes` is that of the map of bytes, if any."""
    bytes: str | None = None
    attach_points: tuple[str, ...] = ()
    """The texts of its variables `${point:...}` and `${return:...}`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The keys that a program counts by client."""

    keys: tuple[bytes, ...]
    descriptor: int | None
    """The offset of the client's descriptor behind the function's fourth argument; None: every client is unknown."""


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """What the user requests of every probe."""

    probe_kind: ProbeKind | None = None
    """None: the best kind that works."""
    ops: frozenset[str] | None = None
    """Count only requests of these kinds; None: of all kinds."""
    misses: bool = False
    sizes: bool = False
    """Add up the bytes of the values written, by key."""
    script: Script | None = None
    kinds: bool = True
    """Distinguish kinds of requests. False only after the kernel's verifier refused a program that does."""
    asked: tuple[bytes, ...] = ()
    """Count only requests for these keys, by client; none: all keys."""
    clients: bool = False
    """Count the requests of each client too, and for hot keys by client."""
    exits: bool = True
    """Count misses at an exit of the function, where one is known. False only after the kernel refused the program."""

    @property
    def by_client(self) -> bool:
        """Whether a probe must see the function's fourth argument, which leads to the client."""
        return self.clients or bool(self.asked)


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """How one binary is traced."""

    probe_kind: ProbeKind
    attach_point: str
    """What bpftrace is given: a symbol's name, of the binary or of the overlay, or a file offset."""
    verdict: ProbeVerdict
    pointer: str
    """The bpftrace expression for the address of the key (or of the line); `length` is that for its bytes."""
    length: str
    """Empty where a NUL ends the line; the program then searches for it."""
    thread: str = "arg3"
    """The bpftrace expression for what leads to the client's descriptor: do_item_get's fourth argument."""
    also: tuple[tuple[str, str, str], ...] = ()
    """Further copies of the same static probe, which the compiler made: attach point, pointer and length of each."""
    instructions: tuple[Instruction, ...] = ()
    """The probed instructions; none where bpftrace resolves the probes without the analysis."""
    overlay: Overlay | None = None
    tagging: Tagging = field(default_factory=Tagging)
    """How the program recognizes the kind of a request."""
    ops: frozenset[str] | None = None
    """Count only requests of these kinds."""
    misses: str | None = None
    """The attach point of the return probe for misses, and of the probe for sizes; None: no such probe."""
    sizes: str | None = None
    results: tuple[str, ...] = ()
    """The bpftrace expressions for what the function returns, 0 for a miss, at the main probe and those in `also`."""
    script: Script | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """The attach points of a script, by the text of their variables."""
    asked: Asked | None = None
    descriptor: int | None = None
    """Where the program counts all keys and clients too: the offset of the client's descriptor, as in `Asked`."""
    certain: bool = False
    """A symbol names the probed function; it was not located by signs in the code."""

    @property
    def counts_misses(self) -> bool:
        """Whether the program counts misses."""
        return self.misses is not None or bool(self.results)

    @property
    def attaches(self) -> bool:
        """Whether this plan puts probes into the binary's own code."""
        return self.probe_kind not in (ProbeKind.SYSCALL, ProbeKind.WATCH)


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """The bounds of one trace."""

    duration_s: float
    slice_ms: int = 1000
    printed: int = 200
    """Entries printed of each slice, the largest ones. The report bounds what is cut off (`absent`)."""
    keys: int = 50_000
    """Keys that the controller stores of the host, the most requested ones. `absent` bounds the others, too."""
    entries: int = 65536
    """Entries that each of the two maps holds. A slice rarely has more distinct keys; if it has, the bounds widen."""

    @property
    def printed_once(self) -> int:
        """Entries printed of a map that the program prints once, at the end of the window."""
        return 10 * self.printed


def annotation_types() -> dict[str, type]:
    """Return the types that this module's annotations name and that it does not import, for `get_type_hints`."""
    from fleettrace.binary.cheapest import Instruction
    from fleettrace.summary.run import ProbeVerdict

    return {each.__name__: each for each in (Instruction, ProbeVerdict)}
