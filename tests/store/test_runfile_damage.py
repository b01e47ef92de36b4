"""A damaged run file is rejected, and an unfinished one never appears."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.store.runfile.gzip_members import pack
from fleettrace.store.runfile.merge import read_merged
from fleettrace.store.runfile.reader import read_run_file
from fleettrace.store.runfile.run_result import run_result
from fleettrace.store.runfile.writer import RunFileWriter
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from tests.store.runs import Swept, host_result, info, write


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    keys = {Key.whole(b"key:%d" % number): KeyCount(number + 1, timeline=[number]) for number in range(900)}
    summary = Summary(sum(range(901)), 0, keys, [1])
    hosts = [(host_result(name, {"1@1": summary}), {"1@1": summary}) for name in ("c1", "c2")]
    return write(tmp_path / "run", Swept("r", hosts))


def test_truncated_file_is_rejected(kept: Path, tmp_path: Path) -> None:
    whole = kept.read_bytes()
    cut = tmp_path / "cut"
    for size in (0, 1, 20, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        with pytest.raises(ConfigError, match=r"cut: .*(damaged at byte [0-9]+|not a run file)"):
            read_run_file(cut)


def test_damaged_file_is_rejected(kept: Path, tmp_path: Path) -> None:
    whole = kept.read_bytes()
    rng = random.Random(7)
    broken = tmp_path / "broken"
    for _ in range(60):
        place = rng.randrange(len(whole))
        broken.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :])
        try:
            found = run_result(read_merged([broken]))
        except ConfigError as error:
            assert str(error).startswith(f"{broken}: ")
        else:
            # The fingerprints and the gzip header's spare bytes do not affect the result.
            assert found.hosts == run_result(read_merged([kept])).hosts


def test_newer_schema_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "new"
    path.write_bytes(pack({"kind": "header", "schema": "fleettrace/run-file/9"}))
    with pytest.raises(ConfigError, match="its schema is 9, and this version reads up to 1"):
        read_run_file(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"fleettrace", b"\x1f\x8b"])
def test_other_file_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"not a run file|damaged at byte 0"):
        read_run_file(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone: cannot read the run file: No such file"):
        read_run_file(tmp_path / "gone")


def test_unfinished_file_does_not_appear(tmp_path: Path) -> None:
    with RunFileWriter(tmp_path / "run") as writer:
        writer.add("r", host_result("c1", {}), {})
    assert list(tmp_path.iterdir()) == []


def test_old_file_stays_until_new_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("older")
    with RunFileWriter(path) as writer:
        writer.add("r", host_result("c1", {}), {})
        assert path.read_text() == "older"
        writer.finish([info("r")])
    assert len(read_run_file(path).hosts) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_killed_controller_leaves_no_file(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from fleettrace.store.runfile.writer import RunFileWriter\n"
        "from tests.store.runs import host_result\n"
        "writer = RunFileWriter(Path(sys.argv[1]))\n"
        "[writer.add('r', host_result(f'c{n}', {}), {}) for n in range(5000)]\n"
        "print('written', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path / "run"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "run").exists()


def test_full_disk_names_the_file() -> None:
    with pytest.raises(ConfigError, match="cannot write /nowhere/run: No such file"):
        RunFileWriter(Path("/nowhere/run"))
