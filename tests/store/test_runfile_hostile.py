"""A file that unpacks to gigabytes is rejected early, and files with keys are private."""

from __future__ import annotations

import json
import os
import stat
import struct
import tracemalloc
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleettrace.errors import ConfigError, HostState
from fleettrace.store.history.database import History
from fleettrace.store.runfile.gzip_members import UNPACKED_MOST, inflated, pack
from fleettrace.store.runfile.reader import read_run_file
from fleettrace.store.runfile.writer import SCHEMA, RunFileWriter
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult, RunInfo


def member(line_parts: list[bytes]) -> bytes:
    """Return a member with a line of these parts, packed as small as possible."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    crc, size, body = 0, 0, []
    for part in line_parts:
        crc, size = zlib.crc32(part, crc), size + len(part)
        body.append(deflate.compress(part))
    body.append(deflate.flush())
    packed = b"".join(body) + struct.pack("<II", crc, size & 0xFFFFFFFF)
    head = struct.pack("<2sBBIBBH2sHI", b"\x1f\x8b", 8, 4, 0, 0, 3, 8, b"FT", 4, 20 + len(packed))
    return head + packed


def refused(path: Path) -> str:
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError) as caught:
            read_run_file(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * UNPACKED_MOST
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_gigabyte_member_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "bomb.run"
    spaces = [b" " * (1 << 20)] * 512
    path.write_bytes(pack({"schema": SCHEMA}) + member([b'{"kind":"host"', *spaces, b"}\n"]))
    assert path.stat().st_size < 1 << 20
    assert "more than" in refused(path)


def test_gigabytes_of_members_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "bomb.run"
    about = {"kind": "host", "run": "r", "host": "h", "counted": [], "warnings": [], "size": 0}
    line = json.dumps(about).encode()[:-1] + b', "top": [' + b"0," * (4 << 20) + b"0]}\n"
    path.write_bytes(pack({"schema": SCHEMA}) + member([line]) * 40)
    assert path.stat().st_size < 1 << 20
    assert "unpack" in refused(path)


@pytest.mark.parametrize("line", [b'{"kind":' + b"[" * 200_000, b'{"kind":' + b"1" * 5000 + b"}\n"])
def test_invalid_json_is_one_line_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "odd.run"
    path.write_bytes(pack({"schema": SCHEMA}) + member([line]))
    refused(path)


def test_largest_block_is_within_bound() -> None:
    assert 16_384 * (250 * len("\\u00ff") + 12) < UNPACKED_MOST


@pytest.mark.parametrize("cut", [1, 4, 100])
def test_incomplete_data_is_rejected(cut: int) -> None:
    packed = zlib.compress(os.urandom(1000))
    assert len(inflated(packed)) == 1000
    with pytest.raises(ValueError, match="incomplete"):
        inflated(packed[:-cut])


def write(path: Path) -> None:
    with RunFileWriter(path) as writer:
        writer.add("r", HostResult("h", HostState.OK), {"1": Summary(1, 0, {Key.whole(b"k"): KeyCount(1)})}, [], 0)
        writer.finish([RunInfo("r", datetime.now(UTC), "h", 1.0, "0")], [])


def test_run_file_is_private_or_keeps_mode(tmp_path: Path) -> None:
    path = tmp_path / "run"
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_readable_history_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with History.open(path, create=True) as history:
        assert not history.tightened
    path.chmod(0o644)
    with History.open(path, create=True) as history:
        assert history.tightened
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
