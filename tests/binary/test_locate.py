"""Functions located without symbols, compared with the symbols of the same build."""

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
    GET_PHRASES,
    Located,
    inlined_copies,
    locate_do_item_get,
    locate_item_alloc,
    users_of_phrases,
)
from fleettrace.binary.references import References
from fleettrace.binary.symbols import function_symbols, named
from tests.binary.builds import BUILDS, CI_BUILDS, build, cache, extra_binaries, stripped

LOCATED = ("do_item_get", "item_alloc", "do_item_alloc")


def built() -> list[Path]:
    """Return the cached binaries beyond those that every run builds. Their symbols show the true addresses."""
    other = (cache() / "binary" / name / "memcached" for name in BUILDS if name not in CI_BUILDS)
    return [path for path in [*other, *extra_binaries()] if path.is_file()]


NOT_FOUND = {"o0", "clang-o0", "clang-lto", "fentry", "nop-entry"}
"""Builds in which the search does not find the allocators."""


def check(path: Path) -> None:
    elf = elf_file.parse(path.read_bytes())
    truth = {name: [s.address for s in named(function_symbols(elf), name)] for name in LOCATED}
    references = References(elf, read_functions(elf))
    users = users_of_phrases(references)
    get = locate_do_item_get(references, users)
    assert isinstance(get, Located)
    wrapper, inner = locate_item_alloc(references, users, get.function)
    for name, result in zip(LOCATED, (get, wrapper, inner), strict=True):
        found = [result.function.start] if isinstance(result, Located) else []
        if name != "do_item_get" and path.parent.name in NOT_FOUND and not found:
            continue
        assert not any(truth.values()) or found == truth[name], (name, result)


@pytest.mark.parametrize("name", CI_BUILDS)
def test_located_functions_match_the_symbols(name: str) -> None:
    check(build(name))


def test_located_functions_match_in_other_builds() -> None:
    for path in built():
        check(path)


@pytest.mark.parametrize("name", CI_BUILDS)
def test_stripped_binary_has_the_same_functions(name: str) -> None:
    unstripped, bare = analyse(build(name).read_bytes()), analyse(stripped(name).read_bytes())
    for function in LOCATED:
        expected, found = unstripped.function(function), bare.function(function)
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
def test_missing_phrases_are_the_reason(phrases: int, reason: str) -> None:
    data = stripped("plain").read_bytes()
    for wordings in GET_PHRASES[:phrases]:
        for phrase in wordings:
            data = data.replace(phrase + b"\0", b"#" * len(phrase) + b"\0")
    analysis = analyse(data)
    assert analysis.function("do_item_get") is None
    assert reason in analysis.missing["do_item_get"]


def test_inlined_copies_are_counted() -> None:
    elf = elf_file.parse(build("plain").read_bytes())
    functions = read_functions(elf)
    known = functions.starting(next(s.address for s in named(function_symbols(elf), "do_item_get")))
    assert known is not None
    users = users_of_phrases(References(elf, functions))
    assert inlined_copies(users, known) == 0
    users[GET_PHRASES[3][0]].add(0x1234)
    assert inlined_copies(users, known) == 1


def test_other_binary_has_no_functions() -> None:
    analysis = analyse(Path("/bin/ls").read_bytes())
    assert analysis.functions == ()
    assert "none of the phrases" in analysis.missing["do_item_get"]
    assert analysis.version is None


def without_unwind_table(binary: Path, directory: Path) -> bytes:
    bare = directory / "memcached"
    shutil.copy(binary, bare)
    subprocess.run(["objcopy", "--remove-section=.eh_frame", "--remove-section=.eh_frame_hdr", bare], check=True)
    return bare.read_bytes()


@pytest.mark.parametrize("name", CI_BUILDS)
def test_functions_without_unwind_table_are_found_by_calls(name: str, tmp_path: Path) -> None:
    unstripped, bare = analyse(build(name).read_bytes()), analyse(without_unwind_table(stripped(name), tmp_path))
    found, expected = bare.function("do_item_get"), unstripped.function("do_item_get")
    assert found is not None
    assert expected is not None
    assert found.cheapest == expected.cheapest
    kinds = {each.return_address: (each.operation, each.fetch) for each in unstripped.call_sites}
    assert len(bare.call_sites) >= 5
    for each in bare.call_sites:
        if each.operation or each.fetch:
            assert kinds[each.return_address] == (each.operation, each.fetch)


def test_code_without_a_call_is_not_located(tmp_path: Path) -> None:
    data = without_unwind_table(stripped("plain"), tmp_path)
    known = analyse(data).function("do_item_get")
    assert known is not None
    # Without its calls, its code belongs to the function before it, and that entry does not lead there.
    calls = [match.start() for match in re.finditer(rb"\xe8(?=(.{4}))", data, re.DOTALL)]
    changed = bytearray(data)
    for call in calls:
        if call + 5 + int.from_bytes(data[call + 1 : call + 5], "little", signed=True) == known.file_offset:
            changed[call : call + 5] = b"\x0f\x1f\x44\x00\x00"
    analysis = analyse(bytes(changed))
    assert analysis.function("do_item_get") is None
    assert ".eh_frame" in analysis.missing["do_item_get"] or "unwind table" in analysis.missing["do_item_get"]


@pytest.mark.parametrize(("body", "expected"), [("find(key, n, hv) + 1", True), ('find("", 0, hv) + 1', False)])
def test_arguments_passed_on_count_as_used(tmp_path: Path, body: str, expected: bool) -> None:
    """do_item_get of 1.4.15 passes its arguments on to assoc_find."""
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
