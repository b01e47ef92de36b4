"""The ladder: the best way to see a given binary's requests, and why not a better one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis, Found, Point
from fleettrace.binary.cheapest import Cost, Spot, predicted_microseconds
from fleettrace.binary.overlay import overlay
from fleettrace.probes.model import Overlay, ProbePlan, Rung
from fleettrace.probes.tags import tagging
from fleettrace.summary.run import ProbeVerdict

__all__ = ["UnsupportedError", "choose", "preview"]

OVERLAY_NAME = "fleettrace_point"
"""The symbol that an overlay gives to the probed instruction."""
_WORDS = {Cost.EMULATED: "is emulated by the kernel", Cost.STEPPED: "is single-stepped"}
_BY_NAME = (Found.SYMTAB, Found.DYNSYM)
"""Where bpftrace finds a symbol by itself."""
_LINE_HAS_LENGTH = (1, 6, 40)
"""From here on process_command_ascii's line has no NUL at its end, and its third argument is the length."""


class UnsupportedError(Exception):
    """No rung works for the binary; the text says why for each."""


def choose(analysis: BinaryAnalysis, forced: Rung | None = None, *, overlay_works: bool = True) -> ProbePlan:
    """The plan for one binary; with `forced`, on that rung or none. Raises `UnsupportedError`.

    `overlay_works` says whether the node can give bpftrace a symbol of its own (it needs unshare(1)).
    """
    reasons: list[str] = []
    for rung, attempt in ((Rung.ITEM, _item), (Rung.COMMAND, _command)):
        if forced not in (None, rung):
            continue
        outcome = attempt(analysis, overlay_works)
        if isinstance(outcome, ProbePlan):
            return outcome
        reasons.append(f"{rung}: {outcome}")
    if not reasons:
        raise UnsupportedError(f"the rung `{forced}` cannot trace this binary")
    raise UnsupportedError("; ".join(reasons))


def preview(rung: Rung) -> ProbePlan:
    """The plan for a binary that nobody has looked at yet: unstripped, its function's first instruction a cheap one.

    Raises `UnsupportedError` for a rung without a program.
    """
    why = "not looked at"
    if rung is Rung.ITEM:
        return ProbePlan(rung, "do_item_get", ProbeVerdict(rung, True, why=why), pointer="arg0", length="arg1")
    if rung is Rung.COMMAND:
        verdict = ProbeVerdict(rung, False, why=why)
        return ProbePlan(rung, "process_command_ascii", verdict, pointer="arg1", length="0")
    raise UnsupportedError(f"the rung `{rung}` has no program")


def _item(analysis: BinaryAnalysis, overlay_works: bool) -> ProbePlan | str:
    point = analysis.point("do_item_get")
    if point is None:
        return f"do_item_get: {analysis.missing.get('do_item_get', 'not found')}"
    placed = _place(analysis, point, overlay_works)
    if isinstance(placed, str):
        return placed
    return ProbePlan(
        Rung.ITEM,
        placed.name,
        placed.verdict(Rung.ITEM, analysis, point, exact=True),
        pointer="arg0",
        length="arg1",
        overlay=placed.overlay,
        tagging=tagging(analysis, placed.spot),
    )


def _command(analysis: BinaryAnalysis, overlay_works: bool) -> ProbePlan | str:
    point = analysis.point("process_command_ascii") or analysis.point("process_command")
    if point is None:
        return f"process_command: {analysis.missing.get('process_command', 'not found')}"
    placed = _place(analysis, point, overlay_works)
    if isinstance(placed, str):
        return placed
    version = _version(analysis.version)
    if version is None:
        return "the binary does not say its version, so whether a line's end is marked is not known"
    verdict = placed.verdict(Rung.COMMAND, analysis, point, exact=False)
    length = "arg2" if version >= _LINE_HAS_LENGTH else "0"
    return ProbePlan(Rung.COMMAND, placed.name, verdict, pointer="arg1", length=length, overlay=placed.overlay)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where the probe of a function goes, by what name."""

    name: str
    spot: Spot
    overlay: Overlay | None
    why: str

    def verdict(self, rung: Rung, analysis: BinaryAnalysis, point: Point, *, exact: bool) -> ProbeVerdict:
        """What the report says of it."""
        return ProbeVerdict(
            rung=rung.value,
            exact=exact,
            symbol=point.symbol or point.function,
            offset=self.spot.offset,
            overlay=self.overlay is not None,
            cost=predicted_microseconds(analysis.machine, self.spot.cost),
            why=self.why,
        )


def _place(analysis: BinaryAnalysis, point: Point, overlay_works: bool) -> _Placed | str:
    """The cheapest place in a function that this node's bpftrace can be led to, or why there is none."""
    by_name = point.symbol is not None and point.found in _BY_NAME
    if by_name and point.symbol is not None and point.cheapest.address == point.entry.address:
        how = "at its entry, by its symbol"
        return _Placed(
            point.symbol, point.entry, None, f"{how}: `{point.entry.instruction}` {_WORDS[point.entry.cost]}"
        )
    if overlay_works and analysis.build_id is not None:
        elf = overlay(analysis.build_id, analysis.machine, {OVERLAY_NAME: point.cheapest})
        found = "located in the code" if point.found is Found.LOCATED else f"by its {point.found}"
        why = f"{found}, at `{point.cheapest.instruction}`, which {_WORDS[point.cheapest.cost]}"
        if point.cheapest.address != point.entry.address:
            why += f"; its first instruction, `{point.entry.instruction}`, {_WORDS[point.entry.cost]}"
        return _Placed(OVERLAY_NAME, point.cheapest, Overlay(elf), why)
    lacking = "the binary has no build id" if analysis.build_id is None else "unshare(1) does not work there"
    if by_name and point.symbol is not None:
        why = f"at its entry, by its symbol, though `{point.entry.instruction}` {_WORDS[point.entry.cost]}: {lacking}"
        return _Placed(point.symbol, point.entry, None, why)
    return f"{point.function} is known from its {point.found} alone, and a symbol overlay is not possible: {lacking}"


def _version(text: str | None) -> tuple[int, int, int] | None:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
