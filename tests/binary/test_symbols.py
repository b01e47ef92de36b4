"""Function symbols from every source, and the meaning of a compiler's suffix."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleettrace.binary.analysis import Found, analyse
from fleettrace.binary.elf import BinaryError, parse
from fleettrace.binary.symbols import (
    Symbol,
    SymbolForm,
    SymbolSource,
    base_name,
    covered,
    function_symbols,
    named,
    symbol_form,
)
from tests.binary.builds import build, stripped


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("do_item_get", SymbolForm.ORIGINAL),
        ("do_item_get.lto_priv.0", SymbolForm.ORIGINAL),
        ("do_item_get.localalias", SymbolForm.ORIGINAL),
        ("do_item_get.llvm.1234", SymbolForm.ORIGINAL),
        ("do_item_get@@VERS_1", SymbolForm.ORIGINAL),
        ("do_item_get.constprop.0", SymbolForm.CLONE),
        ("do_item_get.isra.0", SymbolForm.CLONE),
        ("do_item_get.constprop.0.isra.0", SymbolForm.CLONE),
        ("do_item_get.something.new", SymbolForm.CLONE),
        ("do_item_get.part.0", SymbolForm.PART),
        ("do_item_get.cold", SymbolForm.PART),
        ("do_item_get.constprop.0.cold", SymbolForm.PART),
    ],
)
def test_symbol_form_by_suffix(name: str, expected: SymbolForm) -> None:
    assert symbol_form(name) is expected
    assert base_name(name) == "do_item_get"


def test_named_excludes_parts_and_orders_clones_last() -> None:
    names = ["f.cold", "f.constprop.0", "f", "f.part.0", "g", "f2"]
    symbols = [Symbol(name, 16 * index, 4, SymbolSource.SYMTAB) for index, name in enumerate(names)]
    assert [s.name for s in named(symbols, "f")] == ["f", "f.constprop.0"]


def test_debug_file_provides_symbols(tmp_path: Path) -> None:
    debug = tmp_path / "debug"
    subprocess.run(["objcopy", "--only-keep-debug", str(build("plain")), str(debug)], check=True)
    analysis = analyse(stripped("plain").read_bytes(), debug.read_bytes())
    function = analysis.function("do_item_get")
    assert function is not None
    assert (function.symbol, function.found) == ("do_item_get", Found.DEBUG_FILE)


def test_a_debug_file_of_another_build_is_refused() -> None:
    with pytest.raises(BinaryError, match="do not match"):
        analyse(stripped("plain").read_bytes(), build("lto").read_bytes())


def test_the_packed_mini_symbol_table_is_read(tmp_path: Path) -> None:
    packed, target = tmp_path / "debugdata", tmp_path / "memcached"
    subprocess.run(["xz", "-zkc", str(build("plain"))], check=True, stdout=packed.open("wb"))
    subprocess.run(
        ["objcopy", "--add-section", f".gnu_debugdata={packed}", str(stripped("plain")), str(target)], check=True
    )
    function = analyse(target.read_bytes()).function("do_item_get")
    assert function is not None
    assert function.found is Found.DEBUGDATA


def test_symbols_are_those_that_nm_lists() -> None:
    path = build("plain")
    lines = subprocess.run(["nm", str(path)], check=True, capture_output=True, text=True).stdout.splitlines()
    expected = {line.split()[2]: int(line.split()[0], 16) for line in lines if line.split()[-2] in "tT"}
    found = {s.name: s.address for s in function_symbols(parse(path.read_bytes()))}
    assert found == {name: address for name, address in expected.items() if name in found}
    assert {"do_item_get", "item_alloc", "main"} <= set(found)


def test_covered_considers_symbols_of_any_kind() -> None:
    elf = parse(build("plain").read_bytes())
    [get] = named(function_symbols(elf), "do_item_get")
    numbers = [get.address - 1 + get.size, 1]
    assert covered(elf, numbers) == (numbers[0],)
    assert covered(parse(stripped("plain").read_bytes()), numbers) == ()
