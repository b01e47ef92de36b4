"""The text of a bpftrace program: the files under `bpftrace/`, filled in. Nothing that a node chose goes into it but
process ids, which are numbers; symbol names are those of our own lists and are checked all the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from fleettrace.probes.layout import key_expression, key_sizes
from fleettrace.probes.model import KeyLayout, ProbePlan, TraceSettings
from fleettrace.resources import resource_dir

__all__ = ["Site", "program", "uprobe_count"]

_COMMENT = re.compile(r"/\*.*?\*/\n?", re.DOTALL)
_MAP = re.compile(r"@(\w+)")
_MARK = re.compile(r'"#')
_WORD = re.compile(r"\$\{(\w+)\}")
_POINT = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
INTERVALS = 3
"""Interval probes in bpftrace/slices.bt: bpftrace counts them among those it attaches."""


@dataclass(frozen=True, slots=True)
class Site:
    """One probe: a plan for one real inode, and the processes that run it, whose /proc/PID/exe leads to it."""

    plan: ProbePlan
    pids: tuple[int, ...]


@cache
def _template(name: str) -> str:
    return _COMMENT.sub("", (resource_dir("bpftrace") / f"{name}.bt").read_text("utf-8"))


def _filled(name: str, **values: object) -> str:
    """The program file `name` with each `${word}` replaced. Raises KeyError for a word without a value."""
    return _WORD.sub(lambda found: str(values[found[1]]), _template(name))


def program(sites: Sequence[Site], layout: KeyLayout, settings: TraceSettings, nonce: str = "NONCE") -> str:
    """One program for all of a host's binaries. Raises `ValueError` for a point that is not a symbol's name.

    `nonce` (letters and digits) goes into every name and mark that is printed: no key that a client chooses can then
    pass for the program's own output.
    """
    parts = [_probe(site, layout) for site in sites]
    parts.append(_filled("slices", slice_ms=settings.slice_ms, length_ms=settings.length_ms, printed=settings.printed))
    text = "\n".join(parts)
    return _MARK.sub(rf'"#{nonce} ', _MAP.sub(rf"@\1_{nonce}", text))


def uprobe_count(sites: Sequence[Site]) -> int:
    """How many probes bpftrace has to say it attaches for the program to be whole."""
    return len(sites) + INTERVALS


def _probe(site: Site, layout: KeyLayout) -> str:
    if not _POINT.fullmatch(site.plan.point):
        raise ValueError(f"not the name of a function: {site.plan.point!r}")
    plan = site.plan
    ends_with_nul = plan.length == "0"
    return _filled(
        plan.rung.value,
        pid=site.pids[0],
        point=plan.point,
        pids=" || ".join(f"pid == {pid}" for pid in site.pids),
        pointer=plan.pointer,
        length=plan.length,
        tagging=plan.tagging.statements,
        short=layout.piece,
        key=key_expression(layout, 1, ends_with_nul=ends_with_nul),
        sizes=key_sizes(layout),
        long_key=key_expression(layout, layout.pieces, ends_with_nul=ends_with_nul),
    )
