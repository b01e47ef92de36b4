"""An exit is found only where every path passes it once, with the request and its result still known."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.binary import elf as elf_file
from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.exits import Exit, find_exit
from fleettrace.binary.functions import read_functions
from fleettrace.binary.references import References
from fleettrace.binary.stored import check_stored
from fleettrace.binary.symbols import function_symbols
from fleettrace.binary.usdt import Operand
from fleettrace.lab.memcached import DEBIAN

SAVED = "push rbx; push r12; push r13; mov r12, rdi; mov r13, rsi"
RESTORED = "mov rax, rbx; pop r13; pop r12; pop rbx; ret"
LOOKED_UP = f"{SAVED}; call find; mov rbx, rax"
REGISTERS = {"key": Operand(8, "r12"), "length": Operand(8, "r13"), "result": Operand(8, "bx")}
SLOTS = {
    "key": Operand(8, "sp", 24, memory=True),
    "length": Operand(4, "sp", 16, memory=True),
    "flag": Operand(1, "sp", 8, memory=True),
    "frame": Operand(8, "sp", 48, memory=True),
    "result": Operand(8, "sp", 40, memory=True),
}
"""Where an unoptimized function has them: `push rbp; mov rbp, rsp; sub rsp, 0x30`."""
SPILLED = (
    "push rbp; mov rbp, rsp; sub rsp, 0x30; mov [rbp-0x18], rdi; mov [rbp-0x20], rsi; mov eax, r8d; mov [rbp-0x28], al;"
    " call find; mov [rbp-8], rax"
)
UNSPILLED = "mov rax, [rbp-8]; leave; ret"
LOG = "test r14, r14; je 1f; call log; 1:"


def exit_of(tmp_path: Path, body: str) -> Exit | None:
    """Return the exit of a function with this code."""
    lines = body.replace(";", "\n")
    source = tmp_path / "code.s"
    # A symbol's size shows where the function ends; without an unwind table there are no offsets to agree with.
    source.write_text(
        f".intel_syntax noprefix\n.text\n.globl get\n.type get, @function\nget:\n{lines}\n.size get, .-get\n"
        ".globl other\n.type other, @function\nother:\ncall get\nret\n.size other, .-other\n"
    )
    built = tmp_path / "code.so"
    subprocess.run(["gcc", "-shared", "-nostdlib", "-o", built, source], check=True)
    elf = elf_file.parse(built.read_bytes())
    symbols = function_symbols(elf, None)
    functions = read_functions(elf, symbols)
    at = {symbol.name: symbol.address for symbol in symbols}
    function = functions.starting(at["get"])
    assert function is not None
    found = find_exit(References(elf, functions), function)
    if found is not None:
        for each in found.instructions:
            assert elf.read(each.address, 2)[:1] in (b"\x74", b"\x75", b"\xeb")
            assert each.offset == each.address - function.start
    return found


def parts_of(found: Exit | None, names: Iterable[str]) -> dict[str, Operand | None]:
    """Return these parts of an exit, with the result that all its instructions share."""
    assert found is not None
    [result] = set(found.results)
    return {name: result if name == "result" else getattr(found, name) for name in names}


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (f"{LOOKED_UP}; {LOG}; {RESTORED}", REGISTERS),
        (f"{SPILLED}; {LOG}; {UNSPILLED}", SLOTS),
        (f"{LOOKED_UP}; test al, al; jne 2f; xor ebx, ebx; 2: {LOG}; {RESTORED}", REGISTERS),
        (f"{LOOKED_UP}; test al, al; jne 2f; ud2; 2: {LOG}; {RESTORED}", REGISTERS),
    ],
    ids=["registers", "stack", "two paths", "one ends"],
)
def test_request_and_result_are_found(tmp_path: Path, body: str, parts: dict[str, Operand]) -> None:
    assert parts_of(exit_of(tmp_path, body), parts) == parts


def test_copies_share_what_each_call_passes_once(tmp_path: Path) -> None:
    log = "test r14, r14; je 4f; test r15, r15; je 5f; call log"
    other = "test r14, r14; je 4f; call log; jmp 4f"
    found = exit_of(tmp_path, f"{LOOKED_UP}; test r13d, 0; {other}; 9: {log}; 5: nop; 4: {RESTORED}")
    assert found is not None
    assert len(found.instructions) == 1
    find = "call find; mov rbx, rax"
    both = exit_of(tmp_path, f"{SAVED}; test r14, r14; je 9f; {find}; {other}; 9: {find}; {log}; 5: nop; 4: {RESTORED}")
    assert both is not None
    assert len(both.instructions) == 2
    assert parts_of(both, REGISTERS) == REGISTERS


def test_path_that_always_misses_has_result_zero(tmp_path: Path) -> None:
    gone = "9: test r14, r14; je 8f; call log; 8: xor r13d, r13d; xor ebx, ebx; jmp 4b"
    body = f"{SAVED}; test r14, r14; je 9f; call find; mov rbx, rax; {LOG}; 4: {RESTORED}; {gone}"
    both = exit_of(tmp_path, body)
    assert both is not None
    assert set(both.results) == {Operand(8, "bx"), Operand(8, None)}


def test_return_address_is_found(tmp_path: Path) -> None:
    found = exit_of(tmp_path, f"{LOOKED_UP}; {LOG}; {RESTORED}")
    assert found is not None
    assert ([each.return_offset for each in found.instructions], found.flag) == ([24], None)


@pytest.mark.parametrize(
    "body",
    [
        f"{SAVED}; test r14, r14; je 3f; call find; mov rbx, rax; {LOG}; 3: {RESTORED}",
        f"{LOOKED_UP}; 3: test r14, r14; jne 3b; {RESTORED}",
        f"{SAVED}; test r14, r14; jne 2f; xor r12d, r12d; 2: call find; mov rbx, rax; {LOG}; {RESTORED}",
        f"{SAVED}; test r14, r14; jne 2f; mov r13, r14; 2: call find; mov rbx, rax; {LOG}; {RESTORED}",
        f"{LOOKED_UP}; {LOG}; test r14, r14; cmove rbx, r14; {RESTORED}",
        f"{SAVED}; {LOG}; call find; mov rbx, rax; {RESTORED}",
        f"{LOOKED_UP}; {LOG}; jmp other",
        f"{LOOKED_UP}; {LOG}; mov rax, rbx; jmp rax",
        f"{SPILLED}; lea rdi, [rbp-0x18]; call change; {LOG}; {UNSPILLED}",
        f"{SPILLED}; mov byte ptr [rbp-0x14], 0; {LOG}; {UNSPILLED}",
        f"{SPILLED}; mov qword ptr [rsp+rax*8], 0; {LOG}; {UNSPILLED}",
        f"{SAVED}; push r12; push r13; mov r12, 0; mov r13, 0; call find; mov rbx, rax; {LOG}; add rsp, 16; {RESTORED}",
        f"{LOOKED_UP}; test r14, r14; nop; call log; {RESTORED}",
        f"{SAVED}; {LOG}; test r14, r14; je 9f; call find; mov rbx, rax; 9: {RESTORED}",
    ],
    ids=[
        "a path around it",
        "in a loop",
        "another key on one path",
        "another length on one path",
        "result changed later",
        "result not known yet",
        "ends in another function",
        "ends at an unknown address",
        "address of a variable is passed",
        "part of the key overwritten",
        "unknown variable overwritten",
        "only as arguments of a call",
        "no cheap instruction",
        "not looked up on one path",
    ],
)
def test_no_exit_where_anything_is_uncertain(tmp_path: Path, body: str) -> None:
    assert exit_of(tmp_path, body) is None


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("key", {"register": 'r12"); system("'}),
        ("key", {"register": None}),
        ("length", {"displacement": 1 << 40}),
        ("flag", {"displacement": 8.0}),
        ("thread", {"size": 3}),
        ("length", None),
    ],
)
def test_impossible_stored_exit_is_refused(name: str, damaged: dict[str, object] | None) -> None:
    stored = analyse(Path(DEBIAN).read_bytes()).to_dict()
    leaving = stored["exit"]
    changed = {**leaving, name: None if damaged is None else {**leaving[name], **damaged}}
    with pytest.raises(BinaryError):
        BinaryAnalysis.from_dict(stored | {"exit": changed})


def test_stored_exit_elsewhere_is_refused() -> None:
    analysis = analyse(Path(DEBIAN).read_bytes())
    check_stored(analysis)
    assert analysis.exit is not None
    [instruction] = analysis.exit.instructions
    moved = replace(instruction, address=instruction.address + 1, file_offset=instruction.file_offset + 1)
    with pytest.raises(BinaryError, match="damaged"):
        check_stored(replace(analysis, exit=replace(analysis.exit, instructions=(moved,))))


SPILLED_BY_SP = "push rbp; push rbx; sub rsp, 0x28; mov [rsp+8], rdi; mov [rsp+0x10], rsi; call find; mov rbx, rax"
FREED = "mov rax, rbx; add rsp, 0x28; pop rbx; pop rbp; ret"


def test_slots_are_trusted_without_an_address(tmp_path: Path) -> None:
    assert exit_of(tmp_path, f"{SPILLED_BY_SP}; {LOG} {FREED}") is not None


@pytest.mark.parametrize(
    "writes",
    [
        "lea rbp, [rsp+r15*8]; mov qword ptr [rbp], 0",
        "lea rbp, [rsp]; add rbp, 8; mov qword ptr [rbp], 0",
        "mov eax, 8; add rax, rsp; mov qword ptr [rax], 0",
        "lea rbp, [rsp+8]; cmove rdi, rbp; call change",
        "lea rbp, [rsp+8]; xchg rbp, rax; mov qword ptr [rax], 0",
        "lea rbp, [rsp]; mov eax, 8; mov qword ptr [rax+rbp], 0",
        "mov eax, 64; bts qword ptr [rsp], rax",
        "test r15, r15; jne 7f; xor ebp, ebp; jmp 8f; 7: lea rbp, [rsp+8]; 8: mov rdi, rbp; call change",
        "mov rbp, rsp; test r15, r15; je 7f; xor ebp, ebp; 7: mov rdi, rbp; call change",
    ],
)
def test_slot_of_known_address_is_not_trusted(tmp_path: Path, writes: str) -> None:
    assert exit_of(tmp_path, f"{SPILLED_BY_SP}; {writes}; {LOG} {FREED}") is None


def test_instruction_inside_another_is_refused(tmp_path: Path) -> None:
    overlapping = "test r15, r15; jne 5f+1; 5: .byte 0xb8, 0x74, 0, 0, 0; nop"
    assert exit_of(tmp_path, f"{LOOKED_UP}; {LOG} {RESTORED}") is not None
    assert exit_of(tmp_path, f"{LOOKED_UP}; {overlapping}; {LOG} {RESTORED}") is None
