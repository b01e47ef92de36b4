"""The text of a bpftrace program: the files under `bpftrace/`, filled in. Nothing that a node chose goes into it but
process ids, which are numbers; symbol names are those of our own lists and are checked all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from fleettrace.probes.layout import key_expression, key_sizes, word_expression, word_statements
from fleettrace.probes.model import KeyLayout, ProbeKind, ProbePlan, TraceSettings
from fleettrace.probes.pid_namespace import ANY_PROCESS, Process, in_namespace
from fleettrace.probes.script import fill, probe_count
from fleettrace.probes.tags import REPEATED
from fleettrace.resources import resource_dir

__all__ = ["ProbeTarget", "overlay_lines", "program", "unsafe", "uprobe_count"]

_COMMENT = re.compile(r"/\*.*?\*/\n?", re.DOTALL)
_MAP = re.compile(r"@(\w+)")
_MARK = re.compile(r'"#')
_WORD = re.compile(r"\$\{(\w+)\}")
_POINT = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*|0x[0-9a-f]{1,16}")
_ADDRESS = re.compile(r"^uprobe:\S+:0x", re.MULTILINE)
INTERVALS = 3
"""Interval probes in bpftrace/ready.bt and slices.bt: bpftrace counts them among those it attaches."""
ONCE = 2
"""Those in ready.bt and once.bt."""
_PROBES = {ProbeKind.SYSCALL: 3}
"""Probes in a rung's program, where it is not one."""


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """One probe: a plan for one real inode, and the processes that run it, whose /proc/PID/exe leads to it."""

    plan: ProbePlan
    pids: tuple[int, ...]
    namespaced: tuple[Process, ...] = ()
    """The same processes where the node's /proc is that of a nested PID namespace; else empty."""


@cache
def _template(name: str) -> str:
    return _COMMENT.sub("", (resource_dir("bpftrace") / f"{name}.bt").read_text("utf-8"))


def _filled(name: str, **values: object) -> str:
    """The program file `name` with each `${word}` replaced. Raises KeyError for a word without a value."""
    return _WORD.sub(lambda found: str(values[found[1]]), _template(name))


def program(
    sites: Sequence[ProbeTarget],
    layout: KeyLayout,
    settings: TraceSettings,
    nonce: str = "NONCE",
    *,
    marked: bool = False,
) -> str:
    """One program for all of a host's binaries. Raises `ValueError` for a point that is no name and no address.

    `nonce` (letters and digits) goes into every name and mark that is printed: no key that a client chooses can then
    pass for the program's own output. `marked` puts comments around the probes of each site, so that a node can leave
    them out (binding.sh).
    """
    parts = [_filled("ready")]
    for site in sites:
        probes = _site(site, layout)
        parts += [f"// site {site.pids[0]}", *probes, f"// end of site {site.pids[0]}"] if marked else probes
    scripts = [site.plan.script for site in sites if site.plan.script is not None]
    misses, sizes = (any(getattr(site.plan, what) for site in sites) for what in ("misses", "sizes"))
    kept = {
        "c": bool(scripts),
        "m": misses,
        "n": misses,
        "v": sizes,
        "u": sizes or any(script.bytes for script in scripts),
    }
    finish = "\n\t".join(
        f"print(@{name}, {settings.printed_once});\n\tclear(@{name});" for name, used in kept.items() if used
    )
    clock = {"length_ns": round(settings.duration_s * 1e9), "finish": finish}
    if scripts:
        parts.append(_filled("once", **clock))
    else:
        parts.append(_filled("slices", slice_ms=settings.slice_ms, printed=settings.printed, **clock))
    text = "\n".join(parts)
    return _MARK.sub(rf'"#{nonce} ', _MAP.sub(rf"@\1_{nonce}", text))


def unsafe(sites: Sequence[ProbeTarget], text: str) -> bool:
    """Whether bpftrace takes the program only with `--unsafe`: a probe is led to an address. Never for a user's own
    program, to which that would open the shell."""
    return not any(site.plan.script for site in sites) and _ADDRESS.search(text) is not None


def overlay_lines(sites: Sequence[ProbeTarget]) -> str:
    """Return the sites' symbol overlays for a node's script: a line each, `PID BYTES`, in printf(1)'s octal form."""
    lines = []
    for site in sites:
        if site.plan.overlay is not None:
            octal = "".join(f"\\{byte:03o}" for byte in site.plan.overlay.elf)
            lines.append(f"{site.pids[0]} {octal}")
    return "\n".join(lines)


def uprobe_count(sites: Sequence[ProbeTarget]) -> int | None:
    """How many probes bpftrace has to say it attaches for the program to be whole; None where only it can know."""
    total = 0
    for site in sites:
        plan = site.plan
        if plan.script is None:
            total += (
                _PROBES.get(plan.probe_kind, 1) + len(plan.also) + (plan.misses is not None) + (plan.sizes is not None)
            )
            continue
        own = probe_count(plan.script)
        if own is None:
            return None
        total += own
    return total + (ONCE if any(site.plan.script is not None for site in sites) else INTERVALS)


def _site(site: ProbeTarget, layout: KeyLayout) -> Iterator[str]:
    """The probes on one binary, for the PID namespace that the node's /proc is of."""
    for part in _probes(site, layout):
        yield in_namespace(part, site.namespaced) if site.namespaced else part


def _probes(site: ProbeTarget, layout: KeyLayout) -> Iterator[str]:
    plan = site.plan
    pids = ANY_PROCESS if site.namespaced else " || ".join(f"pid == {pid}" for pid in site.pids)
    if plan.script is not None:
        words = {text: _checked(name) for text, name in plan.names.items()}
        about = "((uint64)pid << 32) | (($length > 65535 ? 65535 : $length) & 0xffff)"
        yield fill(
            plan.script,
            words
            | {
                "exe": f"/proc/{site.pids[0]}/exe",
                "pids": f"({pids}) && @w == 1",
                "key": f"{about}, {_any_key(layout, anywhere=True)}",
                "sizes": key_sizes(layout, any_length=True),
            },
        )
        return
    where = {"pid": site.pids[0], "pids": pids}
    # A system call's tracepoint is not in the process's own code.
    anywhere = plan.probe_kind is ProbeKind.SYSCALL
    keys = {
        "short": layout.short,
        "words": word_statements(layout, anywhere=anywhere),
        "short_key": word_expression(layout),
        "sizes": key_sizes(layout),
        "long_key": key_expression(layout, anywhere=anywhere),
    }
    count = _filled("count", **keys, wanted=_wanted(plan), remember=_remember(plan))
    for point, pointer, length in ((plan.point, plan.pointer, plan.length), *plan.also):
        yield _filled(
            plan.probe_kind.value,
            **where,
            point=_checked(point),
            pointer=pointer,
            length=length,
            measure=f"$length = {length};" if length else _template("line").strip(),
            tagging=plan.tagging.statements,
            count=count,
            user="uptr" if layout.uptr else "",
        )
    if plan.misses is not None:
        yield _filled("misses", **where, point=_checked(plan.misses), **keys)
    if plan.sizes is not None:
        yield _filled("sizes", **where, point=_checked(plan.sizes), **keys)


def _any_key(layout: KeyLayout, *, anywhere: bool = False) -> str:
    return key_expression(layout, any_length=True, anywhere=anywhere)


def _checked(point: str) -> str:
    if not _POINT.fullmatch(point):
        raise ValueError(f"not the name of a function: {point!r}")
    return point


def _wanted(plan: ProbePlan) -> str:
    """The condition that leaves out other kinds of request, where the kernel knows the kind. A kind that is not known
    may be one of those wanted: it is counted, and the report's bounds have room for it."""
    known = plan.tagging.ops
    if plan.ops is None or known is None:
        return f" && $tag != {REPEATED}" if plan.tagging.repeats else ""
    tags = [tag for tag, op in enumerate(known) if op is None or op in plan.ops]
    return f" && ({' || '.join(f'$tag == {tag}' for tag in tags)})"


def _remember(plan: ProbePlan) -> str:
    """What the return probe for misses is told of a request that may be one."""
    known = plan.tagging.ops
    if plan.misses is None or known is None:
        return ""
    tags = [tag for tag, op in enumerate(known) if op not in (None, "set")]
    return f"if ({' || '.join(f'$tag == {tag}' for tag in tags)}) {{ @p[tid] = $key; @l[tid] = $length; }}"
