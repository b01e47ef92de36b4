"""What the catalogue decides for one binary: a rung of the ladder, where the probe sits, and what it reads there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleettrace.binary.cheapest import Instruction
from fleettrace.probes.tags import Tagging
from fleettrace.summary.run import ProbeVerdict

__all__ = ["WORD", "Bound", "KeyLayout", "Overlay", "ProbeKind", "ProbeOptions", "ProbePlan", "Script", "TraceSettings"]

WORD = 8
"""Bytes of a key in each integer."""


class ProbeKind(StrEnum):
    """The ways of seeing requests, best first (docs/probes.md)."""

    ITEM = "item"
    USDT = "usdt"
    COMMAND = "command"
    SYSCALL = "syscall"
    WATCH = "watch"
    SCRIPT = "script"
    """Not a rung to fall to: a program of the user's own."""


class Bound(StrEnum):
    """How a program keeps the length of a string bounded: verifiers differ in which of these they follow."""

    CONDITION = "condition"
    """By a conditional expression in the call of str()."""
    BRANCH = "branch"
    """By a branch before it."""
    BPFTRACE = "bpftrace"
    """By str() itself, at its limit of S - 1 bytes."""


@dataclass(frozen=True, slots=True)
class KeyLayout:
    """How keys are spread over integers and strings in maps (see layout.py)."""

    piece: int
    """Bytes of a long key in each string."""
    pieces: int
    """Strings of a long key."""
    strlen: int
    """What BPFTRACE_STRLEN has to be for that."""
    plus_one: bool
    """str(p, n) gives n - 1 bytes on this bpftrace (0.23.0 on), so it is asked for one more."""
    bound: Bound = Bound.CONDITION
    """How the length of a string whose length varies is kept within `piece`."""
    uptr: bool = True
    """This bpftrace has uptr() (0.12.0 on), and needs it where a user's address is read in a tracepoint."""

    words: int = 9
    """Integers of a short key."""

    @property
    def short(self) -> int:
        """Bytes of the longest key that counts as short."""
        return self.words * WORD

    @property
    def capacity(self) -> int:
        """Bytes of the longest key that comes through whole."""
        return self.piece * self.pieces


@dataclass(frozen=True, slots=True)
class Overlay:
    """A symbol that only bpftrace sees: the synthetic ELF file that gives an instruction a name."""

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
    """Without comments; its words are not filled in yet."""
    counts: str
    """The map of the requests by key, and that of the bytes by key, if it has one: without the `@`."""
    bytes: str | None = None
    points: tuple[str, ...] = ()
    """What stands in its `${point:...}` and `${return:...}`."""


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """What the user wants of every probe."""

    probe_kind: ProbeKind | None = None
    """None: the best that works."""
    ops: frozenset[str] | None = None
    """Only requests of these kinds; None: of every kind."""
    misses: bool = False
    sizes: bool = False
    """The bytes of the values written."""
    script: Script | None = None
    kinds: bool = True
    """What kind a request is. Only a program that the kernel's verifier refused goes without."""


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """How one binary is traced."""

    probe_kind: ProbeKind
    point: str
    """What the probe is attached to: a symbol's name, the binary's own or the overlay's."""
    verdict: ProbeVerdict
    pointer: str
    """The bpftrace expression for where the key (or the line) begins, and `length` for how many bytes it has."""
    length: str
    """Empty where a line ends with its NUL, which the program then looks for."""
    also: tuple[tuple[str, str, str], ...] = ()
    """More places of the same probe, where the compiler made several of it: point, pointer and length of each."""
    spots: tuple[Instruction, ...] = ()
    """The instructions under its probes; none where bpftrace finds its places without the analysis."""
    overlay: Overlay | None = None
    tagging: Tagging = field(default_factory=Tagging)
    """How the kind of request is told."""
    ops: frozenset[str] | None = None
    """Count only requests of these kinds."""
    misses: str | None = None
    """What the probe for misses is attached to, and the one for the sizes of values; None: there is none."""
    sizes: str | None = None
    script: Script | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """The symbols for the points of a script."""
    certain: bool = False
    """The probed function is known by its name, not by signs in its code."""

    @property
    def attaches(self) -> bool:
        """Whether it puts probes into the binary's own code."""
        return self.probe_kind not in (ProbeKind.SYSCALL, ProbeKind.WATCH)


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """The bounds of one trace."""

    duration_s: float
    slice_ms: int = 1000
    printed: int = 200
    """Entries printed of each slice: the largest ones. What is cut off is bounded in the report (`absent`)."""
    keys: int = 50_000
    """Keys that the controller keeps of the host, the most requested ones. What is left out is in `absent`, too."""
    entries: int = 65536
    """Entries each of the two maps takes. A slice rarely has more distinct keys; when it has, the bounds say so."""

    @property
    def printed_once(self) -> int:
        """Entries printed of a map that is kept from the first slice to the last."""
        return 10 * self.printed
