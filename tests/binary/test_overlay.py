"""The synthetic ELF that names instructions: well formed, and believed by a real bpftrace."""

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
SPOT = Instruction(0x167E0, 0x167E0, 0, "push r15", InstructionCost.EMULATED, 0)


def test_an_overlay_is_an_elf_file_with_these_names_and_this_build_id() -> None:
    later = dataclasses.replace(SPOT, address=0x199F4, file_offset=0x199F4)
    data = overlay("ab" * 20, Machine.AARCH64, {"one": SPOT, "two": later})
    elf = elf_file.parse(data)
    assert (elf.machine, elf_file.build_id(elf)) == (Machine.AARCH64, "ab" * 20)
    assert [(s.name, s.address) for s in function_symbols(elf)] == [("one", 0x167E0), ("two", 0x199F4)]
    assert elf.section(".text") is not None
    assert len(data) < 1024


def test_an_overlay_for_a_binary_without_build_id_has_none() -> None:
    assert elf_file.build_id(elf_file.parse(overlay(None, Machine.X86_64, {"one": SPOT}))) is None


@pytest.mark.parametrize("names", [{}, {"a b": SPOT}, {"": SPOT}, {"x:*": SPOT}])
def test_a_name_that_bpftrace_could_misread_is_refused(names: dict[str, Instruction]) -> None:
    with pytest.raises(BinaryError, match="C identifiers"):
        overlay("ab" * 20, Machine.X86_64, names)


def test_spots_of_different_segments_and_bad_build_ids_are_refused() -> None:
    with pytest.raises(BinaryError, match="one segment"):
        overlay("ab", Machine.X86_64, {"a": SPOT, "b": dataclasses.replace(SPOT, address=0x400000)})
    with pytest.raises(BinaryError, match="no build id"):
        overlay("xyz", Machine.X86_64, {"a": SPOT})


@pytest.mark.lab
def test_the_distributions_stripped_memcached_is_counted_exactly() -> None:
    binary = installed()
    if binary is None:
        pytest.skip("the distribution's memcached is not installed")
    analysis = analyse(binary.read_bytes())
    point = analysis.point("do_item_get")
    assert point is not None
    with memcached(binary) as (pid, connect):
        client = connect()
        with trace(pid, analysis, point.cheapest) as traced:
            for _ in range(GETS):
                client.ascii("get anything", b"END")
    assert sum(traced.calls.values()) == GETS, traced.errors


@pytest.mark.lab
def test_the_return_address_is_found_past_every_push() -> None:
    """A probe on the last push of the prologue sees the same call sites as one on the entry."""
    binary = stripped("plain")
    analysis = analyse(binary.read_bytes())
    elf = elf_file.parse(build("plain").read_bytes())
    symbols = function_symbols(elf)
    functions = read_functions(elf, symbols)
    entry = analysis.point("do_item_get")
    assert entry is not None
    function = functions.starting(entry.address)
    assert function is not None
    deep = [s for s in straight_line(elf, function, 2) if s.instruction.startswith("push")][-1]
    assert (deep.return_offset or 0) > 0
    with memcached(binary) as (pid, connect):
        client = connect()
        with trace(pid, analysis, deep) as traced:
            for _ in range(GETS):
                client.ascii("get anything", b"END")
    sites = {site.return_address for site in analysis.call_sites}
    assert {address for address, _ in traced.calls} <= sites
    assert sum(traced.calls.values()) == GETS, traced.errors
