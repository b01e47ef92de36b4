"""The synthetic ELF file that names instructions: well formed, and accepted by a real bpftrace."""

from __future__ import annotations

import dataclasses

import pytest

from fleettrace.binary import elf as elf_file
from fleettrace.binary.analysis import analyse
from fleettrace.binary.cheapest import Instruction, InstructionCost, straight_line
from fleettrace.binary.elf import BinaryError, Machine
from fleettrace.binary.functions import read_functions
from fleettrace.binary.overlay import overlay
from fleettrace.binary.symbols import function_symbols
from tests.binary.builds import build, installed, stripped
from tests.binary.trace import trace
from tests.binary.traffic import memcached

GETS = 1009
INSTRUCTION = Instruction(0x167E0, 0x167E0, 0, "push r15", InstructionCost.EMULATED, 0)


def test_overlay_has_the_names_and_the_build_id() -> None:
    later = dataclasses.replace(INSTRUCTION, address=0x199F4, file_offset=0x199F4)
    data = overlay("ab" * 20, Machine.AARCH64, {"one": INSTRUCTION, "two": later})
    elf = elf_file.parse(data)
    assert (elf.machine, elf_file.build_id(elf)) == (Machine.AARCH64, "ab" * 20)
    assert [(s.name, s.address) for s in function_symbols(elf)] == [("one", 0x167E0), ("two", 0x199F4)]
    assert elf.section(".text") is not None
    assert len(data) < 1024


def test_overlay_without_build_id() -> None:
    assert elf_file.build_id(elf_file.parse(overlay(None, Machine.X86_64, {"one": INSTRUCTION}))) is None


@pytest.mark.parametrize("names", [{}, {"a b": INSTRUCTION}, {"": INSTRUCTION}, {"x:*": INSTRUCTION}])
def test_overlay_refuses_names_that_are_not_identifiers(names: dict[str, Instruction]) -> None:
    with pytest.raises(BinaryError, match="C identifiers"):
        overlay("ab" * 20, Machine.X86_64, names)


def test_overlay_refuses_two_segments_and_bad_build_ids() -> None:
    with pytest.raises(BinaryError, match="one segment"):
        overlay("ab", Machine.X86_64, {"a": INSTRUCTION, "b": dataclasses.replace(INSTRUCTION, address=0x400000)})
    with pytest.raises(BinaryError, match="no build id"):
        overlay("xyz", Machine.X86_64, {"a": INSTRUCTION})


@pytest.mark.lab
def test_probe_counts_stripped_memcached_exactly() -> None:
    binary = installed()
    if binary is None:
        pytest.skip("the distribution's memcached is not installed")
    analysis = analyse(binary.read_bytes())
    function = analysis.function("do_item_get")
    assert function is not None
    with memcached(binary) as (pid, connect):
        client = connect()
        with trace(pid, analysis, function.cheapest) as traced:
            for _ in range(GETS):
                client.ascii("get anything", b"END")
    assert sum(traced.calls.values()) == GETS, traced.errors


@pytest.mark.lab
def test_return_address_is_read_behind_pushes() -> None:
    """A probe on the last push of the prologue sees the same call sites as one on the entry."""
    binary = stripped("plain")
    analysis = analyse(binary.read_bytes())
    elf = elf_file.parse(build("plain").read_bytes())
    symbols = function_symbols(elf)
    functions = read_functions(elf, symbols)
    entry = analysis.function("do_item_get")
    assert entry is not None
    function = functions.starting(entry.address)
    assert function is not None
    deep = [s for s in straight_line(elf, function, 2) if s.text.startswith("push")][-1]
    assert (deep.return_offset or 0) > 0
    with memcached(binary) as (pid, connect):
        client = connect()
        with trace(pid, analysis, deep) as traced:
            for _ in range(GETS):
                client.ascii("get anything", b"END")
    expected = {each.return_address for each in analysis.call_sites}
    assert {address for address, _ in traced.calls} <= expected
    assert sum(traced.calls.values()) == GETS, traced.errors
