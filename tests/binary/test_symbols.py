"""Function symbols from every place that can have some, and what a compiler's suffix means."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleettrace.binary.analysis import Found, analyse
from fleettrace.binary.elf import BinaryError, parse
from fleettrace.binary.symbols import (
    Symbol,
    SymbolSource,
    Variant,
    base_name,
    covered,
    function_symbols,
    named,
    variant,
)
from tests.binary.builds import build, stripped


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("do_item_get", Variant.WHOLE),
        ("do_item_get.lto_priv.0", Variant.WHOLE),
        ("do_item_get.localalias", Variant.WHOLE),
        ("do_item_get.llvm.1234", Variant.WHOLE),
        ("do_item_get@@VERS_1", Variant.WHOLE),
        ("do_item_get.constprop.0", Variant.CLONE),
        ("do_item_get.isra.0", Variant.CLONE),
        ("do_item_get.constprop.0.isra.0", Variant.CLONE),
        ("do_item_get.something.new", Variant.CLONE),
        ("do_item_get.part.0", Variant.PART),
        ("do_item_get.cold", Variant.PART),
        ("do_item_get.constprop.0.cold", Variant.PART),
    ],
)
def test_a_suffix_says_what_is_left_of_the_function(name: str, expected: Variant) -> None:
    assert variant(name) is expected
    assert base_name(name) == "do_item_get"


def test_parts_are_not_the_function_and_whole_ones_come_first() -> None:
    names = ["f.cold", "f.constprop.0", "f", "f.part.0", "g", "f2"]
    symbols = [Symbol(name, 16 * index, 4, SymbolSource.SYMTAB) for index, name in enumerate(names)]
    assert [s.name for s in named(symbols, "f")] == ["f", "f.constprop.0"]


def test_a_separate_debug_file_gives_the_symbols_of_its_build_id(tmp_path: Path) -> None:
    debug = tmp_path / "debug"
    subprocess.run(["objcopy", "--only-keep-debug", str(build("plain")), str(debug)], check=True)
    analysis = analyse(stripped("plain").read_bytes(), debug.read_bytes())
    point = analysis.point("do_item_get")
    assert point is not None
    assert (point.symbol, point.found) == ("do_item_get", Found.DEBUG_FILE)


def test_a_debug_file_of_another_build_is_refused() -> None:
    with pytest.raises(BinaryError, match="do not match"):
        analyse(stripped("plain").read_bytes(), build("lto").read_bytes())


def test_the_packed_mini_symbol_table_is_read(tmp_path: Path) -> None:
    packed, target = tmp_path / "debugdata", tmp_path / "memcached"
    subprocess.run(["xz", "-zkc", str(build("plain"))], check=True, stdout=packed.open("wb"))
    subprocess.run(
        ["objcopy", "--add-section", f".gnu_debugdata={packed}", str(stripped("plain")), str(target)], check=True
    )
    point = analyse(target.read_bytes()).point("do_item_get")
    assert point is not None
    assert point.found is Found.DEBUGDATA


def test_symbols_are_those_that_nm_lists() -> None:
    path = build("plain")
    lines = subprocess.run(["nm", str(path)], check=True, capture_output=True, text=True).stdout.splitlines()
    expected = {line.split()[2]: int(line.split()[0], 16) for line in lines if line.split()[-2] in "tT"}
    found = {s.name: s.address for s in function_symbols(parse(path.read_bytes()))}
    assert found == {name: address for name, address in expected.items() if name in found}
    assert {"do_item_get", "item_alloc", "main"} <= set(found)


def test_a_number_is_covered_where_a_symbol_of_any_kind_is() -> None:
    elf = parse(build("plain").read_bytes())
    [get] = named(function_symbols(elf), "do_item_get")
    numbers = [get.address - 1 + get.size, 1]
    assert covered(elf, numbers) == (numbers[0],)
    assert covered(parse(stripped("plain").read_bytes()), numbers) == ()
