"""Reading ELF files: header, build id, version, addresses; and refusing other files."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.binary.elf import BinaryError, build_id, memcached_version, parse
from tests.binary.builds import build, stripped


def test_the_build_id_is_what_readelf_prints() -> None:
    data = stripped("plain").read_bytes()
    output = subprocess.run(
        ["readelf", "-n", str(stripped("plain"))], check=True, capture_output=True, text=True
    ).stdout
    identity = build_id(parse(data))
    assert identity is not None
    assert f"Build ID: {identity}" in output


def test_version_is_what_memcached_prints() -> None:
    path = build("plain")
    output = subprocess.run([str(path), "-V"], check=True, capture_output=True, text=True).stdout
    assert f"memcached {memcached_version(parse(path.read_bytes()))}" == output.strip()


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
        (b"", "not an ELF"),
        (b"#!/bin/sh\n", "not an ELF"),
        (b"\x7fELF", "cut short"),
        (b"\x7fELF\x01\x01" + b"\0" * 60, "64-bit"),
        (b"\x7fELF\x02\x01" + b"\0" * 60, "machine 0"),
    ],
)
def test_parse_refuses_other_files_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(BinaryError, match=reason) as caught:
        parse(data)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300))
def test_parse_refuses_or_accepts_any_bytes(data: bytes) -> None:
    for each in (data, b"\x7fELF\x02\x01" + data):
        with contextlib.suppress(BinaryError):
            parse(each)
