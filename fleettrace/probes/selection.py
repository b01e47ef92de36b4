"""Select the best probe kind for a binary, and report why no better one works."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from fleettrace.binary.analysis import BinaryAnalysis, Found, ProbedFunction
from fleettrace.binary.cheapest import Instruction, predicted_microseconds
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.overlay import overlay
from fleettrace.probes.arguments import expression
from fleettrace.probes.attach_points import MAIN, AttachPoints, find_attach_points, instruction_to_probe
from fleettrace.probes.exits import ExitProbe, exit_probe
from fleettrace.probes.model import Asked, Overlay, ProbeKind, ProbeOptions, ProbePlan, Script, UnsupportedError
from fleettrace.probes.script import alternatives
from fleettrace.probes.tags import Tagging, tagging
from fleettrace.summary.counts import OPS
from fleettrace.summary.run import ProbeVerdict

__all__ = ["choose", "preview", "syscall_plan"]

_CLIENTS_US = 0.8
"""Microseconds that `--clients` adds to a request (docs/benchmarks.md)."""
_TWICE = (
    "a counter that a request creates (`ma` with N, binary incr with an initial value) counts twice, as arith and set"
)
"""For the probe kinds that count look-ups: the store of the new item looks its key up a second time."""
_META = (1, 5, 19)
"""The first version with meta commands: `ma` creates a counter as a binary incr does."""
_ALL_STORES = "sizes include stores that memcached then refused"
_COMPLETE_APPENDS = f"{_ALL_STORES}; item_alloc is inlined, so an append or prepend adds the complete new value too"
_LINE_HAS_LENGTH = (1, 6, 40)
"""From this version on process_command_ascii's line has no NUL at its end; its third argument is the length."""
_SYSCALL_US = 5.0
"""Microseconds of memcached's CPU for each read."""
_DESCRIPTOR = 8
"""The offset of a connection's descriptor in 1.6.18, for the preview."""
_RETURN, _ALLOC = "fleettrace_return", "fleettrace_alloc"
"""The symbols that an overlay gives to the other probes' instructions."""


def choose(
    analysis: BinaryAnalysis,
    options: ProbeOptions = ProbeOptions(),  # noqa: B008
    *,
    overlay_works: bool = True,
    refused: Collection[ProbeKind] = (),
) -> ProbePlan:
    """Return the plan for one binary, with the best probe kind that works and gives what `options` request.

    `overlay_works`: the node can give its bpftrace a symbol overlay (this needs unshare(1), and a bpftrace that does
    not run in a container of its own). `refused`: probe kinds with programs that the node's kernel does not load.
    Raises `UnsupportedError`.
    """
    if options.script is not None:
        try:
            return _script(analysis, options.script, overlay_works)
        except UnsupportedError as error:
            raise UnsupportedError(f"{options.script.name}: {error}") from error
    reasons: list[str] = []
    for probe_kind, attempt in _BEST_FIRST.items():
        if options.probe_kind not in (None, probe_kind):
            continue
        if options.asked and probe_kind is not ProbeKind.ITEM:
            reasons.append(f"{probe_kind}: it does not show the client of a request")
            continue
        if probe_kind in refused:
            reasons.append(f"{probe_kind}: its kernel refused the program")
            continue
        try:
            return _with_reasons(attempt(analysis, options, overlay_works), reasons)
        except UnsupportedError as error:
            reasons.append(f"{probe_kind}: {error}")
    if not reasons:
        raise UnsupportedError(f"the probe kind `{options.probe_kind}` cannot trace this binary")
    raise UnsupportedError("; ".join(reasons))


def _with_reasons(plan: ProbePlan, reasons: Sequence[str]) -> ProbePlan:
    """Return the plan with the reasons against better probe kinds in its verdict."""
    if not reasons:
        return plan
    return replace(plan, verdict=replace(plan.verdict, why=f"{plan.verdict.why}; not {'; not '.join(reasons)}"))


def preview(options: ProbeOptions = ProbeOptions()) -> ProbePlan:  # noqa: B008
    """Return the plan for an assumed binary: unstripped, with a cheap first instruction in each function.

    Raises `UnsupportedError` for a probe kind without a program.
    """
    why = "no binary analysed"
    probe_kind = options.probe_kind or ProbeKind.ITEM
    if options.script is not None:
        names = {text: alternatives(text)[0] for text in options.script.attach_points}
        verdict = ProbeVerdict(ProbeKind.SCRIPT, exact=True, why=why)
        return ProbePlan(ProbeKind.SCRIPT, "", verdict, pointer="", length="", script=options.script, names=names)
    if probe_kind is ProbeKind.ITEM:
        plan = ProbePlan(
            probe_kind, "do_item_get", ProbeVerdict(probe_kind, True, why=why), pointer="arg0", length="arg1"
        )
        misses, sizes = "do_item_get" if options.misses else None, "item_alloc" if options.sizes else None
        return replace(plan, misses=misses, sizes=sizes, descriptor=_DESCRIPTOR if options.clients else None)
    if probe_kind is ProbeKind.USDT:
        verdict = ProbeVerdict(probe_kind, True, why=why)
        return ProbePlan(probe_kind, MAIN, verdict, pointer='reg("r12")', length='reg("r13")')
    if probe_kind is ProbeKind.COMMAND:
        verdict = ProbeVerdict(probe_kind, False, why=why)
        return ProbePlan(probe_kind, "process_command_ascii", verdict, pointer="arg1", length="", ops=options.ops)
    if probe_kind is ProbeKind.SYSCALL:
        return syscall_plan(options)
    raise UnsupportedError(f"the probe kind `{probe_kind}` has no program: it reads memcached's own log")


def _function(analysis: BinaryAnalysis, *names: str) -> ProbedFunction:
    """Return the first of these functions that the binary has. Raises `UnsupportedError`."""
    for name in names:
        if (function := analysis.function(name)) is not None:
            return function
    raise UnsupportedError("; ".join(f"{name}: {analysis.missing.get(name, 'not found')}" for name in names))


def _item(analysis: BinaryAnalysis, options: ProbeOptions, overlay_works: bool) -> ProbePlan:
    get = _function(analysis, "do_item_get")
    leaving = exit_probe(analysis, get, options, overlay_works)
    if leaving is not None:
        first, *others = leaving.instructions
        probed = {MAIN: (get, first)} | {f"{MAIN}_{number}": (get, each) for number, each in enumerate(others, 1)}
    else:
        probed = {MAIN: (get, instruction_to_probe(get, returns=options.misses))}
        if options.misses:
            probed[_RETURN] = probed[MAIN]
    alloc = analysis.function("item_alloc") or analysis.function("do_item_alloc") if options.sizes else None
    if alloc is not None:
        probed[_ALLOC] = (alloc, instruction_to_probe(alloc))
    attach_points = find_attach_points(analysis, probed, overlay_works)
    names = {name: attach_point.name for name, attach_point in attach_points.by_name.items()}
    main = attach_points.by_name[MAIN].instruction
    elsewhere = () if leaving is None else (leaving.flag, leaving.frame)
    kinds = tagging(analysis, main, *elsewhere) if options.kinds else Tagging()
    if options.ops is not None and (unknown := options.ops - set(kinds.ops or ())):
        raise UnsupportedError(
            f"requests of kind {', '.join(sorted(unknown))} (--ops) cannot be recognized in this binary"
        )
    verdict = _verdict(ProbeKind.ITEM, analysis, get, attach_points, exact=True)
    # A store of a new key finds nothing either: a program that recognizes no stores cannot recognize misses.
    misses = names[_RETURN] if _RETURN in names and kinds.ops is not None else None
    sizes = names[_ALLOC] if alloc is not None and (options.ops is None or "set" in options.ops) else None
    plan = ProbePlan(
        ProbeKind.ITEM,
        names[MAIN],
        verdict,
        pointer="arg0" if leaving is None else leaving.pointer,
        length="arg1" if leaving is None else leaving.length,
        thread="arg3" if leaving is None else leaving.thread or "0",
        also=() if leaving is None else _copies(probed, leaving),
        instructions=attach_points.instructions,
        overlay=attach_points.overlay,
        tagging=kinds,
        ops=options.ops,
        misses=misses,
        sizes=sizes,
        results=() if leaving is None else leaving.results,
        certain=get.found is not Found.LOCATED,
        asked=Asked(options.asked, analysis.descriptor) if options.asked else None,
        descriptor=analysis.descriptor if options.clients else None,
    )
    return replace(plan, verdict=_with_extras(verdict, plan, options, analysis, attach_points, alloc))


def _copies(names: Collection[str], leaving: ExitProbe) -> tuple[tuple[str, str, str], ...]:
    """Return the further attach points of an exit with several instructions."""
    return tuple((name, leaving.pointer, leaving.length) for name in names if name.startswith(f"{MAIN}_"))


def _with_extras(
    verdict: ProbeVerdict,
    plan: ProbePlan,
    options: ProbeOptions,
    analysis: BinaryAnalysis,
    attach_points: AttachPoints,
    alloc: ProbedFunction | None,
) -> ProbeVerdict:
    """Return the verdict with the cost of the probes for misses and sizes, or the reason why there are none."""
    cost, why = verdict.cost, [verdict.why]
    if plan.misses is not None:
        more = predicted_microseconds(analysis.machine, attach_points.by_name[_RETURN].instruction.cost)
        cost = None if cost is None or more is None else cost + more
        why.append("and a return probe for misses" + ("" if more is None else f", {more:g} us of the cost"))
    elif plan.results:
        why.append("which every request passes with its result, so it shows misses too")
    elif options.misses:
        why.append("no misses, because a store of a new key looks the same")
    if plan.sizes is not None:
        each = predicted_microseconds(analysis.machine, attach_points.by_name[_ALLOC].instruction.cost)
        why.append("and a probe for sizes" + ("" if each is None else f", {each:g} us a write"))
        why.append(_COMPLETE_APPENDS if alloc is not None and alloc.name == "do_item_alloc" else _ALL_STORES)
    elif options.sizes and (options.ops is None or "set" in options.ops):
        why.append(f"no sizes: {analysis.missing.get('item_alloc', 'item_alloc was not found')}")
    if plan.descriptor is not None and cost is not None:
        cost += _CLIENTS_US
        why.append(f"and clients, {_CLIENTS_US:g} us of the cost")
    if (plan.asked is not None or options.clients) and analysis.descriptor is None:
        why.append("no clients, because its code does not show where the descriptor of a connection lies")
    if plan.tagging.repeats < _ways_to_create(analysis):
        why.append(_TWICE)
    return replace(verdict, cost=cost, why="; ".join(why))


def _usdt(analysis: BinaryAnalysis, options: ProbeOptions, overlay_works: bool) -> ProbePlan:
    probes = [probe for probe in analysis.usdt if (probe.provider, probe.name) == ("memcached", "assoc__find")]
    if not probes:
        raise UnsupportedError("the binary has no probe assoc__find (memcached's --enable-dtrace makes it)")
    if options.ops is not None:
        raise UnsupportedError("its static probes do not show the kind of a request (--ops)")
    if not overlay_works:
        raise UnsupportedError("a symbol overlay, by which bpftrace finds a static probe, is not possible")
    copies = []
    for number, probe in enumerate(probes):
        pointer, length = (expression(operand) for operand in (*probe.arguments, None, None)[:2])
        if pointer is None or length is None:
            raise UnsupportedError(f"the arguments of assoc__find at {probe.instruction.address:#x} cannot be read")
        copies.append((f"{MAIN}_{number}", pointer, length))
    named = {name: probe.instruction for (name, _, _), probe in zip(copies, probes, strict=True)}
    try:
        elf = overlay(analysis.build_id, analysis.machine, named)
    except BinaryError as error:
        raise UnsupportedError(str(error)) from error
    costs = [predicted_microseconds(analysis.machine, probe.instruction.cost) for probe in probes]
    verdict = ProbeVerdict(
        ProbeKind.USDT.value,
        exact=True,
        symbol="memcached:assoc__find",
        overlay=True,
        cost=max((cost for cost in costs if cost is not None), default=None),
        why=f"at its `{probes[0].instruction.text}`, by its note; {_TWICE}",
    )
    (attach_point, pointer, length), *also = copies
    return ProbePlan(
        ProbeKind.USDT,
        attach_point,
        verdict,
        pointer,
        length,
        also=tuple(also),
        instructions=tuple(named.values()),
        overlay=Overlay(elf, analysis.headers),
        certain=True,
    )


def _command(analysis: BinaryAnalysis, options: ProbeOptions, overlay_works: bool) -> ProbePlan:
    function = analysis.function("process_command_ascii") or _function(analysis, "process_command")
    attach_points = find_attach_points(analysis, {MAIN: (function, instruction_to_probe(function))}, overlay_works)
    version = _version(analysis.version)
    if version is None:
        raise UnsupportedError("the binary does not contain its version, which decides how a command line ends")
    return ProbePlan(
        ProbeKind.COMMAND,
        attach_points.by_name[MAIN].name,
        _verdict(ProbeKind.COMMAND, analysis, function, attach_points, exact=False),
        pointer="arg1",
        length="arg2" if version >= _LINE_HAS_LENGTH else "",
        instructions=attach_points.instructions,
        overlay=attach_points.overlay,
        ops=options.ops,
    )


def _syscall(_analysis: BinaryAnalysis | None, options: ProbeOptions, _overlay_works: bool) -> ProbePlan:
    return syscall_plan(options)


def syscall_plan(options: ProbeOptions, why_not_better: str = "") -> ProbePlan:
    """Return the plan that needs no analysis of the binary."""
    why = "what memcached reads: the first command of each read, the first key of each command"
    verdict = ProbeVerdict(
        ProbeKind.SYSCALL.value,
        exact=False,
        symbol="read",
        cost=_SYSCALL_US,
        why=why + (why_not_better and f"; {why_not_better}"),
    )
    return ProbePlan(
        ProbeKind.SYSCALL, "read", verdict, pointer="", length="", tagging=Tagging("", (None, *OPS)), ops=options.ops
    )


def _script(analysis: BinaryAnalysis, script: Script, overlay_works: bool) -> ProbePlan:
    probed: dict[str, tuple[ProbedFunction, Instruction]] = {}
    symbols: dict[str, str] = {}
    for number, text in enumerate(script.attach_points):
        function = _function(analysis, *alternatives(text))
        symbols[text] = f"fleettrace_point_{number}"
        probed[symbols[text]] = (function, instruction_to_probe(function, returns=text.startswith("return:")))
    attach_points = find_attach_points(analysis, probed, overlay_works) if probed else AttachPoints({}, None)
    verdict = ProbeVerdict(
        ProbeKind.SCRIPT.value,
        exact=True,
        symbol=", ".join(dict.fromkeys(function.symbol or function.name for function, _ in probed.values())) or None,
        overlay=attach_points.overlay is not None,
        why=f"the program {script.name}",
    )
    return ProbePlan(
        ProbeKind.SCRIPT,
        "",
        verdict,
        pointer="",
        length="",
        instructions=attach_points.instructions,
        overlay=attach_points.overlay,
        script=script,
        names={text: attach_points.by_name[name].name for text, name in symbols.items()},
    )


_BEST_FIRST = {ProbeKind.ITEM: _item, ProbeKind.USDT: _usdt, ProbeKind.COMMAND: _command, ProbeKind.SYSCALL: _syscall}


def _verdict(
    probe_kind: ProbeKind,
    analysis: BinaryAnalysis,
    function: ProbedFunction,
    attach_points: AttachPoints,
    *,
    exact: bool,
) -> ProbeVerdict:
    """Return what the report shows of the main probe."""
    main = attach_points.by_name[MAIN]
    return ProbeVerdict(
        probe_kind=probe_kind.value,
        exact=exact,
        symbol=function.symbol or function.name,
        offset=main.instruction.offset,
        overlay=attach_points.overlay is not None,
        cost=predicted_microseconds(analysis.machine, main.instruction.cost),
        why=main.why,
    )


def _ways_to_create(analysis: BinaryAnalysis) -> int:
    """Return how many kinds of requests of this memcached version create a counter."""
    version = _version(analysis.version)
    return 1 if version is not None and version < _META else 2


def _version(text: str | None) -> tuple[int, int, int] | None:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
