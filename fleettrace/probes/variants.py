"""The forms of one host's program, from the fullest to the plainest: what is tried when a kernel refuses to load one.

A kernel's verifier and the compiler in bpftrace meet in combinations that nobody has tried all of, so a refusal is a
thing to recover from. The first forms lose nothing; each later one gives up something, and says what.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleettrace.probes.model import ProbeKind, ProbeOptions

__all__ = ["Variant", "variants"]

_FALLBACK = (ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND)
"""The probe kinds that have another one to fall back to, best first."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of a program."""

    other_bound: bool = False
    """String lengths are bounded the other way (see layout.py). This loses nothing."""
    kinds: bool = True
    misses: bool = True
    sizes: bool = True
    refused: frozenset[ProbeKind] = frozenset()
    """Probe kinds that are not tried any more."""

    def options(self, wish: ProbeOptions) -> ProbeOptions:
        """Return the probe options of this variant where `wish` is requested."""
        return replace(
            wish, kinds=wish.kinds and self.kinds, misses=wish.misses and self.misses, sizes=wish.sizes and self.sizes
        )

    def lost(self, wish: ProbeOptions) -> str:
        """Return what the variant gives up of what is requested, as a phrase; empty when nothing."""
        if self.refused:
            return f"the probe kind {max(self.refused, key=_FALLBACK.index)}"
        gone = self._gone(wish)
        return " and ".join([", ".join(gone[:-1]), gone[-1]] if len(gone) > 1 else gone)

    def described(self, wish: ProbeOptions) -> str:
        """Return what sets the variant apart from the whole program that `wish` requests."""
        if self.refused:
            kinds = [kind for kind in _FALLBACK if kind in self.refused]
            return f"another probe kind than {', '.join(kinds)}"
        parts = [f"without {name}" for name in self._gone(wish)]
        if self.other_bound:
            parts.append("string lengths bounded the other way")
        return ", ".join(parts) or "the whole program"

    def _gone(self, wish: ProbeOptions) -> list[str]:
        given_up = {
            "misses": wish.misses and not self.misses,
            "sizes": wish.sizes and not self.sizes,
            "kinds of requests": not self.kinds,
        }
        return [name for name, gone in given_up.items() if gone]


def variants(wish: ProbeOptions) -> Iterator[Variant]:
    """Yield the variants to try, in order: each gives up no more than what its predecessors could not load with.

    A user's own program and a requested kind of request (`--ops`) are never changed, only bounded otherwise.
    """
    yield Variant()
    yield Variant(other_bound=True)
    if wish.script is not None:
        return
    if wish.misses:
        yield Variant(misses=False)
    if wish.sizes:
        yield Variant(sizes=False)
    if wish.misses and wish.sizes:
        yield Variant(misses=False, sizes=False)
    if wish.ops is None and wish.probe_kind in (None, ProbeKind.ITEM):
        yield Variant(kinds=False, misses=False, sizes=False)
        yield Variant(kinds=False, misses=False, sizes=False, other_bound=True)
    if wish.probe_kind is None:
        for count in range(1, len(_FALLBACK) + 1):
            yield Variant(kinds=False, misses=False, sizes=False, refused=frozenset(_FALLBACK[:count]))
