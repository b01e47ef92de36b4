"""Functions found without symbols, against the symbols of the same build."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fleettrace.binary import elf as elf_file
from fleettrace.binary import locate
from fleettrace.binary.analysis import Found, analyse
from fleettrace.binary.functions import read_functions
from fleettrace.binary.locate import (
    GET_WORDS,
    Located,
    inlined_copies,
    locate_do_item_get,
    locate_item_alloc,
    users_of_words,
)
from fleettrace.binary.references import References
from fleettrace.binary.symbols import function_symbols, named
from tests.binary.builds import BUILDS, CI_BUILDS, build, cache, extra_binaries, stripped

LOCATED = ("do_item_get", "item_alloc", "do_item_alloc")


def built() -> list[Path]:
    """The binaries at hand beyond those that every run builds, the truth about them in their symbols."""
    other = (cache() / "binary" / name / "memcached" for name in BUILDS if name not in CI_BUILDS)
    return [path for path in [*other, *extra_binaries()] if path.is_file()]


NOT_FOUND = {"o0", "clang-o0", "clang-lto", "fentry", "nop-entry"}
"""Builds in which the search for the allocators gives up."""


def check(path: Path) -> None:
    elf = elf_file.parse(path.read_bytes())
    truth = {name: [s.address for s in named(function_symbols(elf), name)] for name in LOCATED}
    references = References(elf, read_functions(elf))
    users = users_of_words(references)
    get = locate_do_item_get(references, users)
    assert isinstance(get, Located)
    wrapper, inner = locate_item_alloc(references, users, get.function)
    for name, result in zip(LOCATED, (get, wrapper, inner), strict=True):
        found = [result.function.start] if isinstance(result, Located) else []
        if name != "do_item_get" and path.parent.name in NOT_FOUND and not found:
            continue
        assert not any(truth.values()) or found == truth[name], (name, result)


@pytest.mark.parametrize("name", CI_BUILDS)
def test_functions_are_located_where_the_symbols_have_them(name: str) -> None:
    check(build(name))


def test_functions_are_located_in_other_builds_and_packages() -> None:
    for path in built():
        check(path)


@pytest.mark.parametrize("name", CI_BUILDS)
def test_a_stripped_binary_gives_the_same_points(name: str) -> None:
    whole, bare = analyse(build(name).read_bytes()), analyse(stripped(name).read_bytes())
    for function in LOCATED:
        expected, found = whole.point(function), bare.point(function)
        assert (expected is None) == (found is None)
        if expected is not None and found is not None:
            assert (found.address, found.file_offset, found.cheapest) == (
                expected.address,
                expected.file_offset,
                expected.cheapest,
            )
            assert (found.symbol, found.found) == (None, Found.LOCATED)
            assert len(found.signs) >= 3


@pytest.mark.parametrize(("phrases", "reason"), [(2, "only 2 of the 4 phrases"), (4, "none of the phrases")])
def test_without_its_phrases_nothing_is_located_and_the_reason_is_given(phrases: int, reason: str) -> None:
    data = stripped("plain").read_bytes()
    for words in GET_WORDS[:phrases]:
        for word in words:
            data = data.replace(word + b"\0", b"#" * len(word) + b"\0")
    analysis = analyse(data)
    assert analysis.point("do_item_get") is None
    assert reason in analysis.missing["do_item_get"]


def test_a_copy_inlined_elsewhere_makes_the_function_doubtful() -> None:
    elf = elf_file.parse(build("plain").read_bytes())
    functions = read_functions(elf)
    known = functions.starting(next(s.address for s in named(function_symbols(elf), "do_item_get")))
    assert known is not None
    users = users_of_words(References(elf, functions))
    assert inlined_copies(users, known) == 0
    users[GET_WORDS[3][0]].add(0x1234)
    assert inlined_copies(users, known) == 1


def test_a_binary_that_is_no_memcached_has_no_points() -> None:
    analysis = analyse(Path("/bin/ls").read_bytes())
    assert analysis.points == ()
    assert "none of the phrases" in analysis.missing["do_item_get"]
    assert analysis.version is None


def without_unwind_table(binary: Path, directory: Path) -> bytes:
    bare = directory / "memcached"
    shutil.copy(binary, bare)
    subprocess.run(["objcopy", "--remove-section=.eh_frame", "--remove-section=.eh_frame_hdr", bare], check=True)
    return bare.read_bytes()


@pytest.mark.parametrize("name", CI_BUILDS)
def test_without_an_unwind_table_functions_are_found_by_calls(name: str, tmp_path: Path) -> None:
    whole, bare = analyse(build(name).read_bytes()), analyse(without_unwind_table(stripped(name), tmp_path))
    point, expected = bare.point("do_item_get"), whole.point("do_item_get")
    assert point is not None
    assert expected is not None
    assert point.cheapest == expected.cheapest
    kinds = {site.return_address: (site.operation, site.fetch) for site in whole.call_sites}
    assert len(bare.call_sites) >= 5
    for site in bare.call_sites:
        if site.operation or site.fetch:
            assert kinds[site.return_address] == (site.operation, site.fetch)


def test_code_that_nothing_calls_is_not_located(tmp_path: Path) -> None:
    data = without_unwind_table(stripped("plain"), tmp_path)
    known = analyse(data).point("do_item_get")
    assert known is not None
    # Without the calls of it, its code belongs to the function before, whose entry does not lead there.
    calls = [match.start() for match in re.finditer(rb"\xe8(?=(.{4}))", data, re.DOTALL)]
    changed = bytearray(data)
    for site in calls:
        if site + 5 + int.from_bytes(data[site + 1 : site + 5], "little", signed=True) == known.file_offset:
            changed[site : site + 5] = b"\x0f\x1f\x44\x00\x00"
    analysis = analyse(bytes(changed))
    assert analysis.point("do_item_get") is None
    assert ".eh_frame" in analysis.missing["do_item_get"] or "unwind table" in analysis.missing["do_item_get"]


@pytest.mark.parametrize(("body", "expected"), [("find(key, n, hv) + 1", True), ('find("", 0, hv) + 1', False)])
def test_arguments_that_are_passed_straight_on_are_used(tmp_path: Path, body: str, expected: bool) -> None:
    """As do_item_get of 1.4.15 does with those of assoc_find."""
    source = tmp_path / "get.c"
    source.write_text(f"""
        __attribute__((noinline)) long find(const char *key, unsigned long n, unsigned hv) {{ return key[n] + hv; }}
        __attribute__((noinline)) long get(const char *key, unsigned long n, unsigned hv) {{ return {body}; }}
        int main(int argc, char **argv) {{ return get(argv[0], argc, 1); }}
    """)
    subprocess.run(["gcc", "-O1", "-fno-ipa-cp", "-fno-ipa-sra", "-o", tmp_path / "get", source], check=True)
    elf = elf_file.parse((tmp_path / "get").read_bytes())
    symbols = function_symbols(elf)
    function = read_functions(elf, symbols).starting(named(symbols, "get")[0].address)
    assert function is not None
    assert locate._uses(elf, function, 2) is expected
