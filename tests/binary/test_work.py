"""A binary that is made to be slow to analyse is refused within bounded time and memory."""

from __future__ import annotations

import struct
import time
from contextlib import suppress

import pytest

from fleettrace.binary import elf as elf_file
from fleettrace.binary.analysis import analyse
from fleettrace.binary.elf import MAX_CODE, PT_LOAD, BinaryError, Elf, parse
from fleettrace.binary.work import MAX_STEPS, Work
from tests.binary.builds import build

_PHDR = struct.Struct("<IIQQQQQQ")
_ADDRESS = 0x10000000
_SECONDS = 30
"""An analysis takes 4 s where it has a processor of its own."""


def with_code(data: bytes, code: bytes, times: int = 1) -> bytes:
    """Return the file with this code in `times` executable segments, in the place of its first ones of other kinds."""
    grown = bytearray(data + b"\0" * (-len(data) % 4096))
    offset = len(grown)
    grown += code
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    others = [at for at in range(start, start + 56 * count, 56) if struct.unpack_from("<I", data, at)[0] != PT_LOAD]
    for at in others[:times]:
        _PHDR.pack_into(grown, at, PT_LOAD, 5, offset, _ADDRESS, _ADDRESS, len(code), len(code), 4096)
    return bytes(grown)


def test_too_much_code_is_refused_unread() -> None:
    data = build("plain").read_bytes()
    with pytest.raises(BinaryError, match="bytes of code"):
        parse(with_code(data, bytes(MAX_CODE)))


def test_segments_over_each_other_are_refused() -> None:
    data = build("plain").read_bytes()
    with pytest.raises(BinaryError, match="lie over each other"):
        parse(with_code(data, bytes(4 * len(data)), times=4))


@pytest.mark.parametrize("filler", [b"\xe8\0\0\0\0", b"\xe9\0\0\0\0", b"\x48\x8d\x3d\0\0\0\0", b"\xe8" * 5])
def test_analysis_of_many_references_ends(filler: bytes) -> None:
    data = with_code(build("plain").read_bytes(), filler * ((MAX_CODE - (1 << 20)) // len(filler)))
    began = time.thread_time()
    with suppress(BinaryError):
        analyse(data)
    assert time.thread_time() - began < _SECONDS


def test_steps_are_counted_and_bounded() -> None:
    work = Work(3)
    work.spend(3)
    with pytest.raises(BinaryError, match="more than"):
        work.spend()


@pytest.mark.parametrize("name", ["plain", "o3-lto", "o0"])
def test_builds_of_memcached_stay_far_below_the_bound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = []
    parsed = elf_file.parse

    def parse_and_note(data: bytes) -> Elf:
        spent.append(parsed(data))
        return spent[-1]

    monkeypatch.setattr(elf_file, "parse", parse_and_note)
    analyse(build(name).read_bytes())
    assert 0 < MAX_STEPS - spent[0].work.left < MAX_STEPS / 7
