"""A stored analysis decides where a probe goes: one that was changed, or that others can write, is not used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.node.binaries import BinaryCatalog
from fleettrace.node.stored_analyses import AnalysisStore
from tests.binary.builds import build

DATA = build("plain").read_bytes()
CONTENT = sha256(DATA).hexdigest()
ANALYSED = analyse(DATA)
UNPRIVILEGED = 65534


def stored(directory: Path) -> Path:
    AnalysisStore(directory).save(CONTENT, ANALYSED)
    [file] = directory.iterdir()
    return file


def shifted(file: Path, number: int, *, digested: bool = False) -> None:
    """Move the probe of do_item_get by `number` bytes, as `02_cache_tampered.py` of the review did."""
    value: dict[str, Any] = json.loads(file.read_text())
    value["analysis"]["functions"] = [p for p in value["analysis"]["functions"] if p["name"] == "do_item_get"]
    for point in value["analysis"]["functions"]:
        for place in (point, point["entry"], point["cheapest"]):
            place["address"] += number
            place["file_offset"] += number
    value["analysis"]["exit"] = None
    if digested:
        text = json.dumps(value["analysis"], sort_keys=True)
        value["digest"] = sha256(f"{CONTENT}\n{text}".encode()).hexdigest()
    file.write_text(json.dumps(value))


def fetches(directory: Path) -> int:
    """Return how often the binary is fetched for its analysis, which is right in any case."""
    asked = []

    def fetch() -> bytes:
        asked.append(1)
        return DATA

    assert BinaryCatalog(directory).get(CONTENT, fetch) == ANALYSED
    return len(asked)


def test_a_stored_analysis_is_used(tmp_path: Path) -> None:
    stored(tmp_path)
    assert fetches(tmp_path) == 0


@pytest.mark.parametrize("number", [1, -1, 10, 4096])
def test_analysis_with_shifted_instructions_is_made_again(tmp_path: Path, number: int) -> None:
    shifted(stored(tmp_path), number)
    assert (fetches(tmp_path), fetches(tmp_path)) == (1, 0)


def test_the_analysis_of_another_binary_is_not_used(tmp_path: Path) -> None:
    file = stored(tmp_path)
    other = sha256(b"another").hexdigest()
    file.rename(file.with_name(file.name.replace(CONTENT, other)))
    assert AnalysisStore(tmp_path).load(other) is None


@pytest.mark.parametrize("index", range(0, 4000, 571))
def test_a_byte_that_changed_is_noticed(tmp_path: Path, index: int) -> None:
    file = stored(tmp_path)
    data = bytearray(file.read_bytes())
    data[index] ^= 1
    file.write_bytes(data)
    loaded = AnalysisStore(tmp_path).load(CONTENT)
    assert loaded is None or loaded == ANALYSED


def belongs_to_another(path: Path) -> None:
    os.chown(path, UNPRIVILEGED, UNPRIVILEGED)


def group_writes(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def others_write(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


EXPOSED = [group_writes, others_write, *([belongs_to_another] if os.geteuid() == 0 else [])]


@pytest.mark.parametrize("expose", EXPOSED)
def test_file_writable_by_others_is_replaced(tmp_path: Path, expose: Callable[[Path], None]) -> None:
    expose(stored(tmp_path))
    assert (fetches(tmp_path), fetches(tmp_path)) == (1, 0)


@pytest.mark.parametrize("expose", EXPOSED)
def test_directory_writable_by_others_is_not_used(tmp_path: Path, expose: Callable[[Path], None]) -> None:
    directory = tmp_path / "binaries"
    stored(directory)
    expose(directory)
    assert (fetches(directory), fetches(directory)) == (1, 1)


@pytest.mark.parametrize("mask", [0o000, 0o002])
def test_what_is_stored_is_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        file = stored(tmp_path / "binaries")
    finally:
        os.umask(before)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert fetches(tmp_path / "binaries") == 0


def symbolic_link(file: Path) -> None:
    file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(file.parent.parent / "elsewhere")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def deep(file: Path) -> None:
    file.write_text("[" * 200_000)


@pytest.mark.parametrize("replace", [symbolic_link, pipe, deep])
def test_what_is_no_stored_file_is_replaced(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    directory = tmp_path / "binaries"
    replace(stored(directory))
    assert (fetches(directory), fetches(directory)) == (1, 0)


def test_a_forged_digest_does_not_hide_a_contradiction(tmp_path: Path) -> None:
    file = stored(tmp_path)
    value = json.loads(file.read_text())
    value["analysis"]["functions"][0]["cheapest"]["address"] += 10
    text = json.dumps(value["analysis"], sort_keys=True)
    value["digest"] = sha256(f"{CONTENT}\n{text}".encode()).hexdigest()
    file.write_text(json.dumps(value))
    assert AnalysisStore(tmp_path).load(CONTENT) is None


def test_consistent_forgery_has_other_code_than_the_binary(tmp_path: Path) -> None:
    """It agrees with itself: only the node's comparison with the binary is left (tests/node/test_binding.py)."""
    file = stored(tmp_path)
    shifted(file, 16, digested=True)
    forged = AnalysisStore(tmp_path).load(CONTENT)
    assert isinstance(forged, BinaryAnalysis)
    for point in forged.functions:
        code = bytes.fromhex(point.cheapest.code + point.cheapest.after)
        assert DATA[point.file_offset : point.file_offset + len(code)] != code
