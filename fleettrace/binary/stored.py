"""Check a stored analysis before a probe is set by it: its numbers must agree with each other and with its code.

An analysis that agrees may still be one of another binary: the node compares code and headers (node/binding.py).
"""

from __future__ import annotations

import struct
from dataclasses import replace

from fleettrace.binary.analysis import PROBED_FUNCTIONS, BinaryAnalysis, ProbedFunction
from fleettrace.binary.cheapest import Instruction, instruction_at, straight_line
from fleettrace.binary.elf import PF_X, PT_LOAD, BinaryError, Elf, Segment, code_offset, code_segments
from fleettrace.binary.exits import Exit
from fleettrace.binary.functions import Function
from fleettrace.binary.machinecode import disassemble

__all__ = ["check_stored"]

_ENDBR_SIZE = 4


def check_stored(analysis: BinaryAnalysis) -> None:
    """Raise `BinaryError` unless each instruction of a stored analysis is in the code stored with it, with the recorded
    text, at the recorded address and file offset, and where the arguments of its function are still complete."""
    try:
        binary = Elf(b"", analysis.machine, 0, code_segments(analysis.headers), ())
        for probed in analysis.functions:
            _check_function(binary, probed)
        if analysis.exit is not None:
            _check_exit(binary, analysis.function("do_item_get"), analysis.exit)
        for probe in analysis.usdt:
            address = probe.instruction.address
            _check(binary, probe.instruction, instruction_at(_image(binary, probe.instruction, address), address))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, struct.error) as error:
        raise BinaryError(f"the stored analysis is damaged: {type(error).__name__} {error}") from None


def _check_function(binary: Elf, probed: ProbedFunction) -> None:
    if (probed.entry.address, probed.entry.file_offset, probed.entry.offset) != (probed.address, probed.file_offset, 0):
        raise BinaryError(f"the stored analysis is damaged: {probed.name} does not begin at its entry")
    for instruction, arguments in ((probed.entry, 0), (probed.cheapest, PROBED_FUNCTIONS[probed.name])):
        image = _image(binary, instruction, probed.address)
        # Where the function calls a profiler first (`-mfentry`) is not stored.
        for hook in (None, probed.address, probed.address + _ENDBR_SIZE):
            function = Function(probed.address, probed.address + probed.size, None, None, hook)
            found = [each for each in straight_line(image, function, arguments) if each.address == instruction.address]
            if found:
                break
        _check(binary, instruction, found[0] if found else None)


def _check_exit(binary: Elf, get: ProbedFunction | None, leaving: Exit) -> None:
    """Check that the exit is an instruction of do_item_get; what holds there is not in the stored code."""
    if get is None:
        raise BinaryError("the stored analysis is damaged: it has an exit of do_item_get, and no do_item_get")
    for instruction in leaving.instructions:
        _check_inside(binary, get, instruction)


def _check_inside(binary: Elf, get: ProbedFunction, instruction: Instruction) -> None:
    address, end = instruction.address, get.address + get.size
    image = _image(binary, instruction, get.address)
    code = [each.address for each in disassemble(image, get.address, end)] if get.address < address < end else []
    expected = instruction_at(image, address) if address in code else None
    if expected is not None:
        offset = address - get.address
        body = image.read(get.address, offset + len(expected.encoding)).hex()
        expected = replace(expected, offset=offset, code=body, return_offset=instruction.return_offset)
    _check(binary, instruction, expected)


def _image(binary: Elf, instruction: Instruction, start: int) -> Elf:
    """Return a binary that has nothing but the code of `instruction`, from address `start` on."""
    code = bytes.fromhex(instruction.code + instruction.after)
    return replace(binary, data=code, segments=(Segment(PT_LOAD, PF_X, 0, start, len(code)),))


def _check(binary: Elf, instruction: Instruction, expected: Instruction | None) -> None:
    """Raise `BinaryError` unless `instruction` is the instruction that the code holds, at its place in the binary."""
    if (
        expected is None
        or replace(
            expected,
            file_offset=instruction.file_offset,
            return_offset=instruction.return_offset,
            after=instruction.after,
        )
        != instruction
        or instruction.return_offset not in (expected.return_offset, None)
        or not all(type(number) is int for number in (instruction.address, instruction.file_offset, instruction.offset))
        or code_offset(binary.segments, instruction.address) != instruction.file_offset
    ):
        raise BinaryError(
            f"the stored analysis is damaged: there is no `{instruction.text}` at {instruction.address:#x}"
        )
