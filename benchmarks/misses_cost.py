"""Measure what `--misses` costs memcached: with one probe at the exit, with a return probe, and behind each call.

    python -m benchmarks.misses_cost [--rounds 8] [--seconds 3]

Traces Debian's stripped memcached as benchmarks/probe_cost.py does. "Behind the calls" is not part of fleettrace: a
second uprobe behind every call of do_item_get, on the first instruction that the kernel emulates with the result still
in rax, or else right behind the call. Its program is that of the return probe in all other respects. Needs root and two
CPUs.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmarks.probe_cost import fleettrace, run
from fleettrace.binary import elf as elf_file
from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.cheapest import InstructionCost, instruction_at
from fleettrace.binary.machinecode import disassemble, leaves, written
from fleettrace.lab.memcached import DEBIAN
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, TraceSettings
from fleettrace.probes.program import ProbeTarget, program
from fleettrace.probes.selection import choose

__all__ = ["main"]


def conditions(pid: int, binary: Path) -> dict[str, tuple[list[str], bytes | None]]:
    """Return the command of each tracer, and its standard input."""
    analysis = analyse(binary.read_bytes())
    by_exit = choose(analysis, ProbeOptions(misses=True))
    returns = choose(analysis, ProbeOptions(misses=True, exits=False))
    assert by_exit.results
    assert returns.misses is not None
    return {
        "no misses": fleettrace(pid, choose(analysis)),
        "return probe": fleettrace(pid, returns),
        "behind the calls": (behind_calls(pid, binary, analysis), None),
        "exit": fleettrace(pid, by_exit),
    }


def behind_calls(pid: int, binary: Path, analysis: BinaryAnalysis) -> list[str]:
    """Return the command that reads the result behind each call."""
    plan = choose(analysis, ProbeOptions(misses=True, exits=False), overlay_works=False)
    text = program([ProbeTarget(plan, (pid,))], key_layout((0, 17, 0)), TraceSettings(120))
    elf = elf_file.parse(binary.read_bytes())
    offsets = [elf.offset_of(cheapest(elf, call.return_address)) for call in analysis.call_sites]
    probes = ",\n".join(f"uprobe:/proc/{pid}/exe:{offset:#x}" for offset in offsets)
    text, replaced = re.subn(r"uretprobe:\S+", probes, text.replace("retval", 'reg("ax")'))
    assert replaced == 1
    return ["bpftrace", "--unsafe", "-e", text]


def cheapest(elf: elf_file.Elf, address: int) -> int:
    """Return the address of the first emulated instruction from a return address on, or that address."""
    for instruction in disassemble(elf, address, address + 64, 12):
        found = instruction_at(elf, instruction.address)
        if found is not None and found.cost is InstructionCost.EMULATED:
            return found.address
        if written(instruction) & {"rax", "eax"} or leaves(instruction):
            break
    return address


def main() -> None:
    """Measure Debian's memcached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--settle", type=float, default=3, help="seconds for a tracer to attach")
    options = parser.parse_args()
    run(
        "debian",
        Path(DEBIAN),
        options.rounds,
        options.seconds,
        options.settle,
        conditions=conditions,
        base="return probe",
    )


if __name__ == "__main__":
    main()
