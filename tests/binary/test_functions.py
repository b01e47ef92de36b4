"""Function bounds and return-address slots, compared with the symbol table and with readelf's unwind table."""

from __future__ import annotations

import re
import subprocess

import pytest

from fleettrace.binary.elf import Machine, parse
from fleettrace.binary.functions import read_functions
from fleettrace.binary.symbols import function_symbols
from fleettrace.binary.unwind import return_address_slot
from tests.binary.builds import CI_BUILDS, build


@pytest.mark.parametrize("name", CI_BUILDS)
def test_unwind_table_and_symbols_have_equal_bounds(name: str) -> None:
    elf = parse(build(name).read_bytes())
    functions = read_functions(elf)
    sized = [s for s in function_symbols(elf) if s.size and not s.name.startswith("_")]
    assert len(sized) > 150
    for symbol in sized:
        function = functions.starting(symbol.address)
        assert function is not None
        assert function.end == symbol.address + symbol.size
        assert functions.at(function.end - 1) == function


def test_return_address_slot_equals_readelfs() -> None:
    path = build("plain")
    elf = parse(path.read_bytes())
    functions = read_functions(elf, function_symbols(elf))
    printed = subprocess.run(
        ["readelf", "--debug-dump=frames-interp", "-W", str(path)], check=True, capture_output=True
    )
    checked = 0
    start = 0
    for line in printed.stdout.decode().splitlines():
        if head := re.search(r" pc=([0-9a-f]+)\.\.", line):
            start = int(head[1], 16)
        row = re.match(r"^([0-9a-f]{16}) rsp\+(\d+) .*c-8", line)
        function = functions.starting(start)
        if row and function is not None and function.unwind is not None and function.name != "_start":
            slot = return_address_slot(Machine.X86_64, function.unwind, start, int(row[1], 16))
            assert slot == int(row[2]) - 8
            checked += 1
    assert checked > 1000
