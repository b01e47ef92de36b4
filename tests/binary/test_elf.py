"""Reading the file itself: header, build id, version, addresses; and refusing what is no such file."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.binary.elf import BinaryError, build_id, build_id_from_head, memcached_version, parse
from tests.binary.builds import build, stripped


def test_the_build_id_is_what_file_says_also_from_the_first_page() -> None:
    data = stripped("plain").read_bytes()
    told = subprocess.run(["readelf", "-n", str(stripped("plain"))], check=True, capture_output=True, text=True).stdout
    identity = build_id(parse(data))
    assert identity is not None
    assert f"Build ID: {identity}" in told
    assert build_id_from_head(data[:4096]) == identity


def test_the_version_is_what_memcached_says_of_itself() -> None:
    path = build("plain")
    told = subprocess.run([str(path), "-V"], check=True, capture_output=True, text=True).stdout
    assert f"memcached {memcached_version(parse(path.read_bytes()))}" == told.strip()


def test_addresses_and_offsets_agree_with_the_segments() -> None:
    elf = parse(build("plain").read_bytes())
    for segment in elf.segments:
        if segment.kind == 1 and segment.file_size:
            assert elf.offset_of(segment.address) == segment.offset
            assert elf.read(segment.address, 8) == elf.data[segment.offset : segment.offset + 8]
    assert elf.offset_of(1 << 60) is None
    assert elf.read(1 << 60, 8) == b""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no ELF"),
        (b"#!/bin/sh\n", "no ELF"),
        (b"\x7fELF", "cut short"),
        (b"\x7fELF\x01\x01" + b"\0" * 60, "64-bit"),
        (b"\x7fELF\x02\x01" + b"\0" * 60, "machine 0"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(BinaryError, match=reason) as caught:
        parse(data)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.integers(0, 4096))
def test_a_head_cut_anywhere_gives_the_build_id_or_none(length: int) -> None:
    data = stripped("plain").read_bytes()
    assert build_id_from_head(data[:length]) in (None, build_id(parse(data)))


@given(st.binary(max_size=300))
def test_any_head_is_survived(data: bytes) -> None:
    build_id_from_head(data)
    build_id_from_head(b"\x7fELF\x02\x01" + data)
