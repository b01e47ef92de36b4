"""Code without an unwind table is split into functions at the targets of calls, and only there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from fleettrace.binary.elf import parse
from fleettrace.binary.uncovered import MIN_GAP, called_pieces

SOURCE = f"""
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) int work(int n) {{ __asm__ volatile(".rept {MIN_GAP}\\nnop\\n.endr"); return puts("x") + n; }}
int main(int argc, char **argv) {{ srand(1); return work(argc) + rand(); }}
"""
FLAGS = ["-O1", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]


@pytest.mark.parametrize("linker", ["bfd", "lld", "mold", "gold"])
@pytest.mark.parametrize("protection", ["none", "full"])
def test_entries_of_a_linkage_table_are_no_functions(linker: str, protection: str, tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text(SOURCE)
    binary = tmp_path / "one"
    command = ["gcc", *FLAGS, f"-fcf-protection={protection}", f"-fuse-ld={linker}", "-Wl,-z,lazy"]
    subprocess.run([*command, "-o", binary, tmp_path / "one.c"], check=True)
    starts = {start for start, _ in called_pieces(parse(binary.read_bytes()), [])}
    shown = subprocess.run(["readelf", "-SW", binary], check=True, capture_output=True, text=True).stdout
    tables = [
        range(int(address, 16), int(address, 16) + int(size, 16))
        for address, size in re.findall(r" \.plt\S* +PROGBITS +(\S+) \S+ (\S+)", shown)
    ]
    assert tables
    assert not [hex(start) for start in starts if any(start in table for table in tables)]
    symbols = subprocess.run(["nm", binary], check=True, capture_output=True, text=True).stdout
    [work] = re.findall(r"^(\S+) [Tt] work$", symbols, re.MULTILINE)
    assert int(work, 16) in starts
