"""Count misses at an instruction of do_item_get where one probe sees a request and its result (binary/exits.py)."""

from __future__ import annotations

from dataclasses import dataclass

from fleettrace.binary.analysis import BinaryAnalysis, ProbedFunction
from fleettrace.binary.cheapest import Instruction
from fleettrace.probes.arguments import expression
from fleettrace.probes.attach_points import instruction_to_probe
from fleettrace.probes.model import ProbeOptions
from fleettrace.probes.tags import tagging

__all__ = ["ExitProbe", "exit_probe"]


@dataclass(frozen=True, slots=True)
class ExitProbe:
    """The instructions, of which each call runs one, and the bpftrace expressions for the parts of `Exit`."""

    instructions: tuple[Instruction, ...]
    pointer: str
    length: str
    thread: str | None
    flag: str
    frame: str | None
    results: tuple[str, ...]


def exit_probe(
    analysis: BinaryAnalysis, get: ProbedFunction, options: ProbeOptions, overlay_works: bool
) -> ExitProbe | None:
    """Return the probe on the exit of do_item_get (`get`), or None where a return probe must show misses.

    Only an overlay names an instruction in the middle of any function. The exit must show the same kinds of requests,
    and the same repeated look-ups, as the instruction of the return probe.
    """
    leaving = analysis.exit
    if (
        leaving is None
        or not (options.misses and options.kinds and options.exits and overlay_works)
        or options.by_client
    ):
        return None
    pointer, length = expression(leaving.key), expression(leaving.length)
    results = tuple(expression(each) or "0" for each in leaving.results)
    thread, flag, frame = (expression(each) for each in (leaving.thread, leaving.flag, leaving.frame))
    if flag is None and any(site.fetch is not site.operation for site in analysis.call_sites if site.fetch):
        return None
    there = tagging(analysis, leaving.instructions[0], flag or "0", frame)
    entry = tagging(analysis, instruction_to_probe(get, returns=True))
    if pointer is None or length is None or set(there.ops or ()) != set(entry.ops or ()):
        return None
    if there.ops is None or there.repeats < entry.repeats:
        return None
    return ExitProbe(leaving.instructions, pointer, length, thread, flag or "0", frame, results)
