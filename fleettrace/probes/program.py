"""Build the text of a bpftrace program from the templates below `bpftrace/`.

Of what a node sends only process ids, which are numbers, enter a program. Symbol names come from fleettrace's own lists
and are checked again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

from fleettrace.probes.asked import comparison
from fleettrace.probes.layout import key_expression, key_sizes, word_expression, word_statements
from fleettrace.probes.model import KeyLayout, ProbeKind, ProbePlan, TraceSettings
from fleettrace.probes.pid_namespace import ANY_PROCESS, Process, in_namespace
from fleettrace.probes.script import fill, probe_count
from fleettrace.probes.tags import REPEATED
from fleettrace.resources import resource_dir

__all__ = ["ProbeTarget", "overlay_lines", "program", "unsafe", "uprobe_count"]

_COMMENT = re.compile(r"/\*.*?\*/\n?", re.DOTALL)
_MAP = re.compile(r"@(\w+)")
_PRINTED = re.compile(r'"#')
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_ATTACH_POINT = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*|0x[0-9a-f]{1,16}")
_ADDRESS = re.compile(r"^uprobe:\S+:0x", re.MULTILINE)
INTERVALS = 3
"""The interval probes of ready.bt and slices.bt, which bpftrace counts as attached probes."""
_ACCEPTS = 4
"""The tracepoints of accepts.bt."""
ONCE = 2
"""The interval probes of ready.bt and once.bt."""
_PROBES = {ProbeKind.SYSCALL: 3}
"""The probes of a probe kind's template, where there are several."""


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A probe target: a plan for one real inode, and the processes that run it."""

    plan: ProbePlan
    pids: tuple[int, ...]
    namespaced: tuple[Process, ...] = ()
    """The same processes if the node's /proc is that of a nested PID namespace; else empty."""


@cache
def _template(name: str) -> str:
    return _COMMENT.sub("", (resource_dir("bpftrace") / f"{name}.bt").read_text("utf-8"))


def _filled(name: str, **values: object) -> str:
    """Return the template `name` with each `${word}` replaced. Raises KeyError for a word without a value."""
    return _VARIABLE.sub(lambda found: str(values[found[1]]), _template(name))


def program(
    targets: Sequence[ProbeTarget],
    layout: KeyLayout,
    settings: TraceSettings,
    nonce: str = "NONCE",
    *,
    begin_ns: int | None = None,
    marked: bool = False,
) -> str:
    """Return one program for all binaries of a host. Raises `ValueError` for an invalid attach point.

    `nonce` (letters and digits) goes into every printed name and mark, so that no key that a client chooses passes for
    the program's own output. With `begin_ns` counting does not begin before that time of the node's monotonic clock.
    `marked` puts comments around the probes of each target, so that the node can leave them out (binding.sh).
    """
    ready = "@ready = 1;"
    parts = [_filled("ready", ready=ready if begin_ns is None else f"if (nsecs >= {begin_ns:d}) {{ {ready} }}")]
    for target in targets:
        probes, pid = _in_its_namespace(target, layout), target.pids[0]
        parts += [f"// site {pid}", *probes, f"// end of site {pid}"] if marked else probes
    scripts = [target.plan.script for target in targets if target.plan.script is not None]
    misses = any(target.plan.counts_misses for target in targets)
    sizes = any(target.plan.sizes for target in targets)
    printed_once = {
        "c": bool(scripts),
        "m": misses,
        "n": misses,
        "v": sizes,
        "u": sizes or any(script.bytes for script in scripts),
    }
    cleared = "fhl" if any(target.plan.asked for target in targets) else ""
    if any(target.plan.descriptor is not None for target in targets):
        printed_once |= dict.fromkeys("oiq", True)
        cleared += "gjkt"
    finish = "".join(f"clear(@{name});\n\t" for name in cleared) + "\n\t".join(
        f"print(@{name}, {settings.printed_once});\n\tclear(@{name});" for name, used in printed_once.items() if used
    )
    clock = {"length_ns": round(settings.duration_s * 1e9), "finish": finish}
    if scripts:
        parts.append(_filled("once", **clock))
    else:
        parts.append(_filled("slices", slice_ms=settings.slice_ms, printed=settings.printed, **clock))
    text = "\n".join(parts)
    return _PRINTED.sub(rf'"#{nonce} ', _MAP.sub(rf"@\1_{nonce}", text))


def unsafe(targets: Sequence[ProbeTarget], text: str) -> bool:
    """Return whether bpftrace needs `--unsafe` for the program, because an attach point is a file offset.

    Always False for a program of the user's own, because `--unsafe` would allow it to run shell commands.
    """
    return not any(target.plan.script for target in targets) and _ADDRESS.search(text) is not None


def overlay_lines(targets: Sequence[ProbeTarget]) -> str:
    """Return the symbol overlays for a node's script: lines `PID BYTES`, the bytes in printf(1)'s octal form."""
    lines = []
    for target in targets:
        if target.plan.overlay is not None:
            octal = "".join(f"\\{byte:03o}" for byte in target.plan.overlay.elf)
            lines.append(f"{target.pids[0]} {octal}")
    return "\n".join(lines)


def uprobe_count(targets: Sequence[ProbeTarget]) -> int | None:
    """Return the number of probes that bpftrace must report as attached; None where only bpftrace can know it."""
    total = 0
    for target in targets:
        plan = target.plan
        if plan.script is None:
            total += (
                _PROBES.get(plan.probe_kind, 1)
                + len(plan.also)
                + (plan.misses is not None)
                + (plan.sizes is not None)
                + (_ACCEPTS if plan.asked is not None or plan.descriptor is not None else 0)
            )
            continue
        own = probe_count(plan.script)
        if own is None:
            return None
        total += own
    return total + (ONCE if any(target.plan.script is not None for target in targets) else INTERVALS)


def _in_its_namespace(target: ProbeTarget, layout: KeyLayout) -> Iterator[str]:
    """Yield the probes on one binary, adapted to the PID namespace of the node's /proc."""
    for part in _probes(target, layout):
        yield in_namespace(part, target.namespaced) if target.namespaced else part


def _probes(target: ProbeTarget, layout: KeyLayout) -> Iterator[str]:
    plan = target.plan
    pids = ANY_PROCESS if target.namespaced else " || ".join(f"pid == {pid}" for pid in target.pids)
    if plan.script is not None:
        attach_points = {text: _checked(name) for text, name in plan.names.items()}
        about = "((uint64)pid << 32) | (($length > 65535 ? 65535 : $length) & 0xffff)"
        yield fill(
            plan.script,
            attach_points
            | {
                "exe": f"/proc/{target.pids[0]}/exe",
                "pids": f"({pids}) && @w == 1",
                "key": f"{about}, {_any_key(layout, anywhere=True)}",
                "sizes": key_sizes(layout, any_length=True),
            },
        )
        return
    where = {"pid": target.pids[0], "pids": pids}
    if plan.asked is not None:
        yield _who(plan, where, layout)
        return
    # A system call's tracepoint lies outside the process's own code.
    anywhere = plan.probe_kind is ProbeKind.SYSCALL
    keys = {
        "short": layout.short,
        "words": word_statements(layout, anywhere=anywhere),
        "short_key": word_expression(layout),
        "sizes": key_sizes(layout),
        "long_key": key_expression(layout, anywhere=anywhere),
    }
    if plan.descriptor is not None:
        yield _accepts("accepted-client", where, layout)
    for (pointer, length, result), names in _copies(plan).items():
        yield _filled(
            plan.probe_kind.value,
            **where,
            point=f",\nuprobe:/proc/{target.pids[0]}/exe:".join(map(_checked, names)),
            pointer=pointer,
            length=length,
            measure=f"$length = {length};" if length else _template("line").strip(),
            tagging=plan.tagging.statements,
            count=_counting(plan, keys, result),
            user="uptr" if layout.uptr else "",
        )
    if plan.misses is not None:
        yield _filled("misses", **where, point=_checked(plan.misses), **keys)
    if plan.sizes is not None:
        yield _filled("sizes", **where, point=_checked(plan.sizes), **keys)


def _copies(plan: ProbePlan) -> dict[tuple[str, str, str | None], list[str]]:
    """Return the attach points of the main probe and its copies, by what their program reads: one program for each."""
    found: dict[tuple[str, str, str | None], list[str]] = {}
    copies = ((plan.attach_point, plan.pointer, plan.length), *plan.also)
    for (attach_point, pointer, length), result in zip_longest(copies, plan.results):
        found.setdefault((pointer, length, result), []).append(attach_point)
    return found


def _counting(plan: ProbePlan, keys: Mapping[str, object], result: str | None) -> str:
    """Return the statements that count a request, and its miss."""
    return _filled(
        "count",
        **keys,
        filter=_filter(plan),
        remember=_remember(plan),
        short_miss=_missed(plan, result, "m", keys["short_key"]),
        long_miss=_missed(plan, result, "n", keys["long_key"]),
        **_client(plan, keys),
    )


def _who(plan: ProbePlan, where: Mapping[str, object], layout: KeyLayout) -> str:
    """Return the probes that count the asked keys by client."""
    assert plan.asked is not None
    offset = plan.asked.descriptor
    return _accepts("accepted-address", where, layout) + _filled(
        "who",
        **where,
        point=_checked(plan.attach_point),
        pointer=plan.pointer,
        length=plan.length,
        tagging=plan.tagging.statements,
        filter=_filter(plan),
        asked=comparison(plan.asked.keys),
        # No process has the descriptor 2^32.
        descriptor="(uint64)1 << 32" if offset is None else _descriptor(plan, offset),
    )


def _accepts(store: str, where: Mapping[str, object], layout: KeyLayout) -> str:
    """Return the probes that store the peers of accepted connections, each by the template `store`."""
    accepted = _filled("accepted", user="uptr" if layout.uptr else "", store=_template(store).strip())
    return _filled("accepts", **where, accepted=accepted)


def _client(plan: ProbePlan, keys: Mapping[str, object]) -> dict[str, str]:
    """Return the statements that count a request by client, and by key and client."""
    if plan.descriptor is None:
        return {"client": "", "client_key": "", "client_long_key": ""}
    return {
        "client": _filled("client", descriptor=_descriptor(plan, plan.descriptor)).strip(),
        "client_key": _filled("client-key", **keys).strip(),
        "client_long_key": _template("client-long-key").strip(),
    }


def _descriptor(plan: ProbePlan, offset: int) -> str:
    """Return the expression for the descriptor of the request's connection."""
    return f"(uint64)*(uint32*)({plan.thread} + {offset:d})"


def _any_key(layout: KeyLayout, *, anywhere: bool = False) -> str:
    return key_expression(layout, any_length=True, anywhere=anywhere)


def _checked(attach_point: str) -> str:
    if not _ATTACH_POINT.fullmatch(attach_point):
        raise ValueError(f"not the name of a function: {attach_point!r}")
    return attach_point


def _filter(plan: ProbePlan) -> str:
    """Return the condition that excludes requests of other kinds, where the program recognizes the kind.

    A request of unknown kind may be one of the requested ones: the program counts it, and the report's bounds include
    it.
    """
    known = plan.tagging.ops
    if plan.ops is None or known is None:
        return f" && $tag != {REPEATED}" if plan.tagging.repeats else ""
    tags = [tag for tag, op in enumerate(known) if op is None or op in plan.ops]
    return f" && ({' || '.join(f'$tag == {tag}' for tag in tags)})"


def _remember(plan: ProbePlan) -> str:
    """Return the statements that store, for the return probe for misses, a request that may be a miss."""
    condition = _can_miss(plan)
    if plan.misses is None or condition is None:
        return ""
    return f"if ({condition}) {{ @p[tid] = $key; @l[tid] = $length; }}"


def _missed(plan: ProbePlan, result: str | None, name: str, key: object) -> str:
    """Return the statements that count a miss by its key in the map `name`, where the probe shows the result."""
    condition = _can_miss(plan)
    if result is None or condition is None:
        return ""
    about = "((uint64)pid << 32) | (($length > 65535 ? 65535 : $length) & 0xffff)"
    return f"if ({result} == 0 && ({condition})) {{ $missed = {about}; @{name}[$missed, {key}] = count(); }}"


def _can_miss(plan: ProbePlan) -> str | None:
    """Return the condition for a request that is known not to be a store; None where kinds are not recognized."""
    known = plan.tagging.ops
    if known is None:
        return None
    return " || ".join(f"$tag == {tag}" for tag, op in enumerate(known) if op not in (None, "set"))
