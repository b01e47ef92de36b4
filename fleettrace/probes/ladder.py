"""The ladder: the best way to see a given binary's requests, and why not a better one."""

from __future__ import annotations

import re

from fleettrace.binary.analysis import BinaryAnalysis, Found, Point
from fleettrace.binary.cheapest import predicted_microseconds
from fleettrace.probes.model import ProbePlan, Rung
from fleettrace.summary.run import ProbeVerdict

__all__ = ["UnsupportedError", "choose", "preview"]

_BY_NAME = (Found.SYMTAB, Found.DYNSYM)
"""Where bpftrace finds a symbol by itself."""
_LINE_HAS_LENGTH = (1, 6, 40)
"""From here on process_command_ascii's line has no NUL at its end, and its third argument is the length."""


class UnsupportedError(Exception):
    """No rung works for the binary; the text says why for each."""


def choose(analysis: BinaryAnalysis, forced: Rung | None = None) -> ProbePlan:
    """The plan for one binary; with `forced`, on that rung or none. Raises `UnsupportedError`."""
    reasons: list[str] = []
    for rung, attempt in ((Rung.ITEM, _item), (Rung.COMMAND, _command)):
        if forced not in (None, rung):
            continue
        outcome = attempt(analysis)
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


def _item(analysis: BinaryAnalysis) -> ProbePlan | str:
    point = analysis.point("do_item_get")
    if point is None:
        return f"do_item_get: {analysis.missing.get('do_item_get', 'not found')}"
    if point.found not in _BY_NAME or point.symbol is None:
        return f"do_item_get is known only from its {point.found}"
    verdict = _verdict(Rung.ITEM, analysis, point, exact=True, why="exact keys of every protocol, by symbol")
    return ProbePlan(Rung.ITEM, point.symbol, verdict, pointer="arg0", length="arg1")


def _command(analysis: BinaryAnalysis) -> ProbePlan | str:
    point = analysis.point("process_command_ascii") or analysis.point("process_command")
    if point is None:
        return f"process_command: {analysis.missing.get('process_command', 'not found')}"
    if point.found not in _BY_NAME or point.symbol is None:
        return f"{point.function} is known only from its {point.found}"
    version = _version(analysis.version)
    if version is None:
        return "the binary does not say its version, so whether a line's end is marked is not known"
    item = analysis.missing.get("do_item_get", "not chosen")
    verdict = _verdict(Rung.COMMAND, analysis, point, exact=False, why=f"ascii commands only; do_item_get: {item}")
    length = "arg2" if version >= _LINE_HAS_LENGTH else "0"
    return ProbePlan(Rung.COMMAND, point.symbol, verdict, pointer="arg1", length=length)


def _verdict(rung: Rung, analysis: BinaryAnalysis, point: Point, *, exact: bool, why: str) -> ProbeVerdict:
    return ProbeVerdict(
        rung=rung.value,
        exact=exact,
        symbol=point.symbol or point.function,
        offset=0,
        overlay=False,
        cost=predicted_microseconds(analysis.machine, point.entry.cost),
        why=why,
    )


def _version(text: str | None) -> tuple[int, int, int] | None:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
