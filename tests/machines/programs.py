"""Generate fleettrace's own programs for the bpftrace and the memcached of any Debian release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeKind, ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import choose, preview
from tests.machines.debian import Apt, built, machines_cache

__all__ = ["BY_RETURN", "PROGRAMS", "text"]

PROGRAMS: Mapping[str, ProbeOptions] = {
    "item": ProbeOptions(),
    "misses": ProbeOptions(misses=True),
    "sizes": ProbeOptions(sizes=True),
    "both": ProbeOptions(misses=True, sizes=True),
    "syscall": ProbeOptions(ProbeKind.SYSCALL),
    "command": ProbeOptions(ProbeKind.COMMAND),
}
BY_RETURN = ", return probe"
"""Ends the name of a program that counts misses by a return probe."""
_VERSIONS = {"bullseye": (0, 11, 3), "bookworm": (0, 17, 0), "trixie": (0, 23, 2), "sid": (0, 27, 1)}
"""The bpftrace version of each release, on which the program depends."""


def text(name: str, suite: str, arch: str = "amd64", *, other_bound: bool = False) -> str:
    """Return the program `name` for a node of this release, with a window of one second.

    With `other_bound`, return the variant for a kernel that refuses the first one (fleettrace.probes.variants).
    """
    options = PROGRAMS[name.removesuffix(BY_RETURN)]
    if name.endswith(BY_RETURN):
        options = replace(options, exits=False)
    # The function that reads command lines is inlined or has no symbol in Debian's builds.
    plan = preview(options) if options.probe_kind is ProbeKind.COMMAND else choose(_memcached(suite, arch), options)
    layout = key_layout(_VERSIONS[suite], other_bound=other_bound)
    return program([ProbeTarget(plan, (1,))], layout, TraceSettings(1.0), "NONCE")


@cache
def _memcached(suite: str, arch: str) -> BinaryAnalysis:
    tree = built(
        machines_cache() / f"memcached-{suite}-{arch}", lambda target: Apt(suite, arch).unpack(["memcached"], target)
    )
    return analyse((tree / "usr/bin/memcached").read_bytes())
