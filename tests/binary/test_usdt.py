"""The notes of static probes, as systemtap's sys/sdt.h writes them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.binary import elf as elf_file
from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import Elf, Machine, Section
from fleettrace.binary.usdt import Operand, usdt_probes
from fleettrace.lab.build import memcached_binary
from fleettrace.probes.arguments import expression

pytestmark = pytest.mark.filterwarnings("error")


def elf_with(notes: bytes, machine: Machine = Machine.X86_64) -> Elf:
    """Return a binary of one page of nops at 0x1000, with these notes."""
    code = b"\x90" * 4096 if machine is Machine.X86_64 else b"\x1f\x20\x03\xd5" * 1024
    text = elf_file.Segment(elf_file.PT_LOAD, elf_file.PF_X, 0, 0x1000, len(code))
    sections = (
        Section(".note.stapsdt", elf_file.SHT_NOTE, 0, 0, len(code), len(notes), 0, 0),
        Section(".stapsdt.base", 1, 2, 0x5000, 0, 1, 0, 0),
    )
    return Elf(code + notes, machine, 3, (text,), sections)


def note(arguments: str, *, address: int = 0x1010, base: int = 0x5000, semaphore: int = 0, name: str = "p") -> bytes:
    body = struct.pack("<QQQ", address, base, semaphore) + f"memcached\0{name}\0{arguments}\0".encode()
    return struct.pack("<III", 8, len(body), 3) + b"stapsdt\0" + body + b"\0" * (-len(body) % 4)


@pytest.mark.parametrize(
    ("text", "operand", "shown"),
    [
        ("8@%r12", Operand(8, "r12"), 'reg("r12")'),
        ("-4@%ebp", Operand(4, "bp"), '(reg("bp") & 0xffffffff)'),
        ("1@%dil", Operand(1, "di"), '(reg("di") & 0xff)'),
        ("1@%cl", Operand(1, "cx"), '(reg("cx") & 0xff)'),
        ("2@%r9w", Operand(2, "r9"), '(reg("r9") & 0xffff)'),
        ("1@41(%rdi)", Operand(1, "di", 41, memory=True), '(uint64)*(uint8*)(reg("di") + 41)'),
        ("-4@(%rsp)", Operand(4, "sp", 0, memory=True), '(uint64)*(uint32*)(reg("sp") + 0)'),
        ("8@-24(%rbp)", Operand(8, "bp", -24, memory=True), '(uint64)*(uint64*)(reg("bp") + -24)'),
        ("-4@$-1", Operand(4, None, -1), None),
        ("8@8(%rax,%rbx,4)", None, None),
        ("8@name(%rip)", None, None),
        ("8@%xmm0", None, None),
        ("3@%rax", None, None),
    ],
)
def test_operand_and_expression_of_an_argument(text: str, operand: Operand | None, shown: str | None) -> None:
    [probe] = usdt_probes(elf_with(note(f"8@%rdi {text}")))
    assert probe.arguments == (Operand(8, "di"), operand)
    assert expression(operand) == shown


def test_operands_on_aarch64() -> None:
    [probe] = usdt_probes(elf_with(note("8@x21 -4@w3 8@[sp, 16] 8@[x29, -8] 4@[x1]"), Machine.AARCH64))
    assert probe.arguments == (
        Operand(8, "r21"),
        Operand(4, "r3"),
        Operand(8, "sp", 16, memory=True),
        Operand(8, "r29", -8, memory=True),
        Operand(4, "r1", 0, memory=True),
    )


def test_prelinked_probe_is_found() -> None:
    [probe] = usdt_probes(elf_with(note("8@%rax", address=0x10, base=0x4000, semaphore=0x20)))
    assert (probe.instruction.address, probe.instruction.file_offset, probe.semaphore) == (0x1010, 0x10, 0x1020)
    assert probe.instruction.text == "nop"


def test_probe_outside_the_code_is_skipped() -> None:
    assert usdt_probes(elf_with(note("8@%rax", address=0x9000) + note("8@%rbx", name="q")))[0].name == "q"


@given(st.binary(max_size=300))
def test_broken_notes_are_skipped(noise: bytes) -> None:
    usdt_probes(elf_with(noise))
    usdt_probes(elf_with(note("8@%rax") + noise))


@pytest.mark.lab
def test_dtrace_build_has_static_probes() -> None:
    analysis = analyse(memcached_binary("dtrace").read_bytes())
    assert {probe.name for probe in analysis.usdt} == {"assoc__find", "item__link"}
    assert all(probe.instruction.text == "nop" for probe in analysis.usdt)
    assert BinaryAnalysis.from_dict(analysis.to_dict()) == analysis
