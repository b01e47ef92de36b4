"""The ladder: the best way to see a given binary's requests, and why not a better one."""

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
from fleettrace.probes.model import Overlay, ProbeKind, ProbeOptions, ProbePlan
from fleettrace.probes.script import alternatives
from fleettrace.probes.tags import Tagging, tagging
from fleettrace.summary.counts import OPS
from fleettrace.summary.run import ProbeVerdict

__all__ = ["UnsupportedError", "choose", "preview", "syscall_plan"]

_TWICE = (
    "a counter that a request creates (`ma` with N, binary incr with an initial value) counts twice, as arith and set"
)
"""Of the probe kinds that count look-ups: the store of the new item looks its key up once more."""
_META = (1, 5, 19)
"""From here on there are meta commands, and `ma` creates a counter as a binary incr does."""
_ALL_STORES = "sizes are of what clients sent, stores that memcached then refused included"
_WHOLE_APPENDS = f"{_ALL_STORES}; item_alloc is inlined, so an append or prepend adds the whole new value too"
_LINE_HAS_LENGTH = (1, 6, 40)
"""From here on process_command_ascii's line has no NUL at its end, and its third argument is the length."""
_SYSCALL_US = 5.0
"""Microseconds of memcached's CPU for each read."""
_RETURN, _ALLOC = "fleettrace_return", "fleettrace_alloc"
"""The symbols that an overlay gives to the other probes' instructions."""


class UnsupportedError(Exception):
    """No rung works for the binary; the text says why for each."""


def choose(
    analysis: BinaryAnalysis,
    wish: ProbeOptions = ProbeOptions(),  # noqa: B008
    *,
    overlay_works: bool = True,
    refused: Collection[ProbeKind] = (),
) -> ProbePlan:
    """The plan for one binary, on the best rung that works and that gives what is wished for. Raises
    `UnsupportedError`.

    `overlay_works` says whether the node can give its bpftrace a symbol of ours (it needs unshare(1), and a bpftrace
    that is not in a container of its own). Rungs in `refused` are not taken: the node's kernel loads none of their
    programs.
    """
    if wish.script is not None:
        outcome = _script(analysis, wish, overlay_works)
        if isinstance(outcome, ProbePlan):
            return outcome
        raise UnsupportedError(f"{wish.script.name}: {outcome}")
    reasons: list[str] = []
    for probe_kind, attempt in _LADDER.items():
        if wish.probe_kind not in (None, probe_kind):
            continue
        if probe_kind in refused:
            reasons.append(f"{probe_kind}: its kernel refused the program")
            continue
        outcome = attempt(analysis, wish, overlay_works)
        if isinstance(outcome, ProbePlan):
            return _with_reasons(outcome, reasons)
        reasons.append(f"{probe_kind}: {outcome}")
    if not reasons:
        raise UnsupportedError(f"the rung `{wish.probe_kind}` cannot trace this binary")
    raise UnsupportedError("; ".join(reasons))


def _with_reasons(plan: ProbePlan, reasons: Sequence[str]) -> ProbePlan:
    """The plan, its verdict saying why not on a better rung."""
    if not reasons:
        return plan
    return replace(plan, verdict=replace(plan.verdict, why=f"{plan.verdict.why}; not {'; not '.join(reasons)}"))


def preview(wish: ProbeOptions = ProbeOptions()) -> ProbePlan:  # noqa: B008
    """The plan for a binary that nobody has looked at yet: unstripped, its functions' first instructions cheap ones.

    Raises `UnsupportedError` for a rung without a program.
    """
    why = "not looked at"
    probe_kind = wish.probe_kind or ProbeKind.ITEM
    if wish.script is not None:
        names = {text: alternatives(text)[0] for text in wish.script.points}
        verdict = ProbeVerdict(ProbeKind.SCRIPT, exact=True, why=why)
        return ProbePlan(ProbeKind.SCRIPT, "", verdict, pointer="", length="", script=wish.script, names=names)
    if probe_kind is ProbeKind.ITEM:
        plan = ProbePlan(
            probe_kind, "do_item_get", ProbeVerdict(probe_kind, True, why=why), pointer="arg0", length="arg1"
        )
        misses, sizes = "do_item_get" if wish.misses else None, "item_alloc" if wish.sizes else None
        return replace(plan, misses=misses, sizes=sizes)
    if probe_kind is ProbeKind.USDT:
        verdict = ProbeVerdict(probe_kind, True, why=why)
        return ProbePlan(probe_kind, MAIN, verdict, pointer='reg("r12")', length='reg("r13")')
    if probe_kind is ProbeKind.COMMAND:
        verdict = ProbeVerdict(probe_kind, False, why=why)
        return ProbePlan(probe_kind, "process_command_ascii", verdict, pointer="arg1", length="", ops=wish.ops)
    if probe_kind is ProbeKind.SYSCALL:
        return syscall_plan(wish)
    raise UnsupportedError(f"the rung `{probe_kind}` has no program: it asks memcached itself")


def _item(analysis: BinaryAnalysis, wish: ProbeOptions, overlay_works: bool) -> ProbePlan | str:
    point = analysis.point("do_item_get")
    if point is None:
        return f"do_item_get: {analysis.missing.get('do_item_get', 'not found')}"
    wanted = {MAIN: (point, instruction_to_probe(point, returns=wish.misses))}
    if wish.misses:
        wanted[_RETURN] = wanted[MAIN]
    alloc = analysis.point("item_alloc") or analysis.point("do_item_alloc") if wish.sizes else None
    if alloc is not None:
        wanted[_ALLOC] = (alloc, instruction_to_probe(alloc))
    placed = find_attach_points(analysis, wanted, overlay_works)
    if isinstance(placed, str):
        return placed
    told = tagging(analysis, placed.places[MAIN].spot) if wish.kinds else Tagging()
    if wish.ops is not None and (unknown := wish.ops - set(told.ops or ())):
        return f"which requests are {', '.join(sorted(unknown))} (--ops) cannot be told in this binary"
    verdict = _verdict(ProbeKind.ITEM, analysis, point, placed, exact=True)
    # A store of a new key finds nothing either: where stores cannot be told, neither can misses.
    misses = placed.places[_RETURN].name if wish.misses and told.ops is not None else None
    sizes = placed.places[_ALLOC].name if alloc is not None and (wish.ops is None or "set" in wish.ops) else None
    plan = ProbePlan(
        ProbeKind.ITEM,
        placed.places[MAIN].name,
        verdict,
        pointer="arg0",
        length="arg1",
        spots=placed.spots,
        overlay=placed.overlay,
        tagging=told,
        ops=wish.ops,
        misses=misses,
        sizes=sizes,
        certain=point.found is not Found.LOCATED,
    )
    return replace(plan, verdict=_with_extras(verdict, plan, wish, analysis, placed, alloc))


def _with_extras(
    verdict: ProbeVerdict,
    plan: ProbePlan,
    wish: ProbeOptions,
    analysis: BinaryAnalysis,
    placed: AttachPoints,
    alloc: ProbedFunction | None,
) -> ProbeVerdict:
    """The verdict with what the other probes cost, or why they are not there."""
    cost, why = verdict.cost, [verdict.why]
    if plan.misses is not None:
        more = predicted_microseconds(analysis.machine, placed.places[_RETURN].spot.cost)
        cost = None if cost is None or more is None else cost + more
        why.append("and a return probe for misses" + ("" if more is None else f", {more:g} us of the cost"))
    elif wish.misses:
        why.append("no misses, for a store of a new key cannot be told from one")
    if plan.sizes is not None:
        each = predicted_microseconds(analysis.machine, placed.places[_ALLOC].spot.cost)
        why.append("and a probe for sizes" + ("" if each is None else f", {each:g} us a write"))
        why.append(_WHOLE_APPENDS if alloc is not None and alloc.function == "do_item_alloc" else _ALL_STORES)
    elif wish.sizes and (wish.ops is None or "set" in wish.ops):
        why.append(f"no sizes: {analysis.missing.get('item_alloc', 'item_alloc was not found')}")
    if plan.tagging.repeats < _ways_to_create(analysis):
        why.append(_TWICE)
    return replace(verdict, cost=cost, why="; ".join(why))


def _usdt(analysis: BinaryAnalysis, wish: ProbeOptions, overlay_works: bool) -> ProbePlan | str:
    probes = [probe for probe in analysis.usdt if (probe.provider, probe.name) == ("memcached", "assoc__find")]
    if not probes:
        return "the binary has no probe assoc__find (memcached's --enable-dtrace makes it)"
    if wish.ops is not None:
        return "its probes do not tell what kind a request is (--ops)"
    if not overlay_works:
        return "a symbol overlay is not possible, which leads bpftrace to the place of a probe"
    read = []
    for number, probe in enumerate(probes):
        pointer, length = (expression(operand) for operand in (*probe.arguments, None, None)[:2])
        if pointer is None or length is None:
            return f"where assoc__find has its arguments at {probe.spot.address:#x} is not understood"
        read.append((f"{MAIN}_{number}", pointer, length))
    try:
        elf = overlay(
            analysis.build_id,
            analysis.machine,
            {name: probe.spot for (name, _, _), probe in zip(read, probes, strict=True)},
        )
    except BinaryError as error:
        return str(error)
    costs = [predicted_microseconds(analysis.machine, probe.spot.cost) for probe in probes]
    verdict = ProbeVerdict(
        ProbeKind.USDT.value,
        exact=True,
        symbol="memcached:assoc__find",
        overlay=True,
        cost=max((cost for cost in costs if cost is not None), default=None),
        why=f"at its `{probes[0].spot.instruction}`, by its note; {_TWICE}",
    )
    (point, pointer, length), *also = read
    spots = tuple(probe.spot for probe in probes)
    return ProbePlan(
        ProbeKind.USDT,
        point,
        verdict,
        pointer,
        length,
        also=tuple(also),
        spots=spots,
        overlay=Overlay(elf, analysis.headers),
        certain=True,
    )


def _command(analysis: BinaryAnalysis, wish: ProbeOptions, overlay_works: bool) -> ProbePlan | str:
    point = analysis.point("process_command_ascii") or analysis.point("process_command")
    if point is None:
        return f"process_command: {analysis.missing.get('process_command', 'not found')}"
    placed = find_attach_points(analysis, {MAIN: (point, instruction_to_probe(point))}, overlay_works)
    if isinstance(placed, str):
        return placed
    version = _version(analysis.version)
    if version is None:
        return "the binary does not say its version, so whether a line's end is marked is not known"
    verdict = _verdict(ProbeKind.COMMAND, analysis, point, placed, exact=False)
    length = "arg2" if version >= _LINE_HAS_LENGTH else ""
    name = placed.places[MAIN].name
    return ProbePlan(
        ProbeKind.COMMAND,
        name,
        verdict,
        pointer="arg1",
        length=length,
        spots=placed.spots,
        overlay=placed.overlay,
        ops=wish.ops,
    )


def _syscall(_analysis: BinaryAnalysis | None, wish: ProbeOptions, _overlay_works: bool) -> ProbePlan | str:
    return syscall_plan(wish)


def syscall_plan(wish: ProbeOptions, why_not_better: str = "") -> ProbePlan:
    """The plan that needs nothing of the binary."""
    why = "what memcached reads: the first command of each read, the first key of each command"
    verdict = ProbeVerdict(
        ProbeKind.SYSCALL.value,
        exact=False,
        symbol="read",
        cost=_SYSCALL_US,
        why=why + (why_not_better and f"; {why_not_better}"),
    )
    return ProbePlan(
        ProbeKind.SYSCALL, "read", verdict, pointer="", length="", tagging=Tagging("", (None, *OPS)), ops=wish.ops
    )


def _script(analysis: BinaryAnalysis, wish: ProbeOptions, overlay_works: bool) -> ProbePlan | str:
    script = wish.script
    assert script is not None
    wanted: dict[str, tuple[ProbedFunction, Instruction]] = {}
    named: dict[str, str] = {}
    for number, text in enumerate(script.points):
        found = [point for name in alternatives(text) if (point := analysis.point(name)) is not None]
        if not found:
            return "; ".join(f"{name}: {analysis.missing.get(name, 'not found')}" for name in alternatives(text))
        named[text] = f"fleettrace_point_{number}"
        wanted[named[text]] = (found[0], instruction_to_probe(found[0], returns=text.startswith("return:")))
    placed = find_attach_points(analysis, wanted, overlay_works) if wanted else AttachPoints({}, None)
    if isinstance(placed, str):
        return placed
    verdict = ProbeVerdict(
        ProbeKind.SCRIPT.value,
        exact=True,
        symbol=", ".join(dict.fromkeys(point.symbol or point.function for point, _ in wanted.values())) or None,
        overlay=placed.overlay is not None,
        why=f"the program {script.name}",
    )
    names = {text: placed.places[name].name for text, name in named.items()}
    return ProbePlan(
        ProbeKind.SCRIPT,
        "",
        verdict,
        pointer="",
        length="",
        spots=placed.spots,
        overlay=placed.overlay,
        script=script,
        names=names,
    )


_LADDER = {ProbeKind.ITEM: _item, ProbeKind.USDT: _usdt, ProbeKind.COMMAND: _command, ProbeKind.SYSCALL: _syscall}
"""Best first."""


def _verdict(
    probe_kind: ProbeKind, analysis: BinaryAnalysis, point: ProbedFunction, placed: AttachPoints, *, exact: bool
) -> ProbeVerdict:
    """What the report says of a rung's main probe."""
    main = placed.places[MAIN]
    return ProbeVerdict(
        probe_kind=probe_kind.value,
        exact=exact,
        symbol=point.symbol or point.function,
        offset=main.spot.offset,
        overlay=placed.overlay is not None,
        cost=predicted_microseconds(analysis.machine, main.spot.cost),
        why=main.why,
    )


def _ways_to_create(analysis: BinaryAnalysis) -> int:
    """How many kinds of request of this memcached create a counter."""
    version = _version(analysis.version)
    return 1 if version is not None and version < _META else 2


def _version(text: str | None) -> tuple[int, int, int] | None:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
