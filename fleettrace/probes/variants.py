"""The variants of one host's program, in the order in which they are tried when a kernel refuses to load one.

There are too many combinations of kernel verifiers and bpftrace compilers to test them all, so a run must recover from
a refusal. The first variants lose nothing; each later one gives something up and reports what.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleettrace.probes.model import ProbeKind, ProbeOptions

__all__ = ["Variant", "variants"]

_FALLBACK = (ProbeKind.ITEM, ProbeKind.USDT, ProbeKind.COMMAND)
"""The probe kinds that can be replaced by another one, best first."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a program."""

    other_bound: bool = False
    """Bound string lengths in the other way (see layout.py). This loses nothing."""
    kinds: bool = True
    misses: bool = True
    sizes: bool = True
    clients: bool = True
    refused: frozenset[ProbeKind] = frozenset()
    """Probe kinds that the kernel has refused."""
    exits: bool = True
    """Count misses without a return probe where that is possible. False loses nothing."""

    def apply(self, options: ProbeOptions) -> ProbeOptions:
        """Return `options` without what this variant gives up."""
        return replace(
            options,
            kinds=options.kinds and self.kinds,
            misses=options.misses and self.misses,
            exits=options.exits and self.exits,
            sizes=options.sizes and self.sizes,
            clients=options.clients and self.clients,
        )

    def lost(self, options: ProbeOptions) -> str:
        """Return what this variant gives up of `options`, as a phrase; empty for nothing."""
        if self.refused:
            return f"the probe kind {max(self.refused, key=_FALLBACK.index)}"
        gone = self._gone(options)
        return " and ".join([", ".join(gone[:-1]), gone[-1]] if len(gone) > 1 else gone)

    def described(self, options: ProbeOptions) -> str:
        """Return how this variant differs from the complete program for `options`, as a phrase."""
        if self.refused:
            kinds = [kind for kind in _FALLBACK if kind in self.refused]
            return f"another probe kind than {', '.join(kinds)}"
        parts = [f"without {name}" for name in self._gone(options)]
        if self.other_bound:
            parts.append("string lengths bounded the other way")
        if not self.exits:
            parts.append("misses by a return probe")
        return ", ".join(parts) or "the complete program"

    def _gone(self, options: ProbeOptions) -> list[str]:
        given_up = {
            "misses": options.misses and not self.misses,
            "sizes": options.sizes and not self.sizes,
            "clients": options.clients and not self.clients,
            "kinds of requests": not self.kinds,
        }
        return [name for name, gone in given_up.items() if gone]


def variants(options: ProbeOptions) -> Iterator[Variant]:
    """Yield the variants to try, in order; each gives up as little as possible.

    No variant changes a program of the user's own or drops the requested kinds of requests (`--ops`): for these only
    the bounds of string lengths vary.
    """
    yield Variant()
    yield Variant(other_bound=True)
    if options.script is not None:
        return
    least = Variant(clients=not options.clients)
    if options.clients:
        yield least
        yield replace(least, other_bound=True)
    if options.misses:
        yield replace(least, exits=False)
        yield replace(least, exits=False, other_bound=True)
        yield replace(least, misses=False)
    if options.sizes:
        yield replace(least, sizes=False)
    if options.misses and options.sizes:
        yield replace(least, misses=False, sizes=False)
    least = replace(least, kinds=False, misses=False, sizes=False)
    if options.ops is None and options.probe_kind in (None, ProbeKind.ITEM):
        yield least
        yield replace(least, other_bound=True)
    if options.probe_kind is None:
        for count in range(1, len(_FALLBACK) + 1):
            yield replace(least, refused=frozenset(_FALLBACK[:count]))
