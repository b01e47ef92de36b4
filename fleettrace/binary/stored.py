"""Check an analysis that was stored, before a probe is set by it: its numbers must agree with each other and with the
code that it holds.

What agrees may still be another binary's: the node compares code and headers with the binary (node/binding.py).
"""

from __future__ import annotations

import struct
from dataclasses import replace

from fleettrace.binary.analysis import WANTED, BinaryAnalysis, ProbedFunction
from fleettrace.binary.cheapest import Instruction, instruction_at, straight_line
from fleettrace.binary.elf import PF_X, PT_LOAD, BinaryError, Elf, Segment, code_offset, code_segments
from fleettrace.binary.functions import Function

__all__ = ["check_stored"]

_ENDBR_SIZE = 4


def check_stored(analysis: BinaryAnalysis) -> None:
    """Raise `BinaryError` unless each instruction of a stored analysis is in the code stored with it, with the recorded
    text, at the recorded address and file offset, and where the arguments of its function are still complete."""
    try:
        binary = Elf(b"", analysis.machine, 0, code_segments(analysis.headers), ())
        for point in analysis.points:
            _check_function(binary, point)
        for probe in analysis.usdt:
            address = probe.spot.address
            _check(binary, probe.spot, instruction_at(_image(binary, probe.spot, address), address))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, struct.error) as error:
        raise BinaryError(f"the stored analysis is damaged: {type(error).__name__} {error}") from None


def _check_function(binary: Elf, point: ProbedFunction) -> None:
    if (point.entry.address, point.entry.file_offset, point.entry.offset) != (point.address, point.file_offset, 0):
        raise BinaryError(f"the stored analysis is damaged: {point.function} does not begin at its entry")
    for spot, arguments in ((point.entry, 0), (point.cheapest, WANTED[point.function])):
        image = _image(binary, spot, point.address)
        # Where the function calls a profiler first (`-mfentry`) is not stored.
        for hook in (None, point.address, point.address + _ENDBR_SIZE):
            function = Function(point.address, point.address + point.size, None, None, hook)
            found = [each for each in straight_line(image, function, arguments) if each.address == spot.address]
            if found:
                break
        _check(binary, spot, found[0] if found else None)


def _image(binary: Elf, spot: Instruction, start: int) -> Elf:
    """Return a binary that has nothing but the code of `spot`, from address `start` on."""
    code = bytes.fromhex(spot.code + spot.after)
    return replace(binary, data=code, segments=(Segment(PT_LOAD, PF_X, 0, start, len(code), len(code)),))


def _check(binary: Elf, spot: Instruction, expected: Instruction | None) -> None:
    """Raise `BinaryError` unless `spot` is the instruction that the code holds, at its place in the binary."""
    if (
        expected is None
        or replace(expected, file_offset=spot.file_offset, return_offset=spot.return_offset, after=spot.after) != spot
        or spot.return_offset not in (expected.return_offset, None)
        or not all(type(number) is int for number in (spot.address, spot.file_offset, spot.offset))
        or code_offset(binary.segments, spot.address) != spot.file_offset
    ):
        raise BinaryError(f"the stored analysis is damaged: there is no `{spot.instruction}` at {spot.address:#x}")
