"""`fleettrace.atomic_file`: a file is replaced in one step, and a failure leaves the old one and nothing else."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace import atomic_file
from fleettrace.atomic_file import AtomicFile, write_atomically

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(params=["unnamed", "named"])
def _temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of temporary file: without a name, and on a file system without O_TMPFILE."""
    if request.param == "named":
        monkeypatch.setattr(atomic_file.os, "O_TMPFILE", os.O_DIRECTORY)  # type: ignore[attr-defined]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few pages, one of which is free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={8 * PAGE}", "full", disk], check=True)
    try:
        (disk / "others").write_bytes(bytes(7 * PAGE))
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def mode_of(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("_temporary")
def test_reader_keeps_old_content(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("_temporary")
def test_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report"
    write_atomically(path, b"1", 0o600)
    assert mode_of(path) == 0o600
    path.chmod(0o640)
    write_atomically(path, b"2", 0o600)
    assert mode_of(path) == 0o640


@pytest.mark.usefixtures("_temporary")
def test_new_file_mode_ignores_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "given", b"", 0o644)
        write_atomically(tmp_path / "default", b"")
    finally:
        os.umask(before)
    assert (mode_of(tmp_path / "given"), mode_of(tmp_path / "default")) == (0o644, 0o600)


@pytest.mark.usefixtures("_temporary")
def test_content_is_private_before_commit(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "metrics", 0o644) as file:
        assert stat.S_IMODE(os.fstat(file._file.fileno()).st_mode) == 0o600
        file.commit()
    assert mode_of(tmp_path / "metrics") == 0o644


@pytest.mark.usefixtures("_temporary")
def test_link_target_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "directory/real", tmp_path / "link"
    real.parent.mkdir()
    link.symlink_to(real)
    for content in (b"first", b"second"):
        write_atomically(link, content)
        assert (link.is_symlink(), real.read_bytes()) == (True, content)
    assert list(real.parent.iterdir()) == [real]


def test_device_and_pipe_are_written_directly(tmp_path: Path) -> None:
    write_atomically(Path("/dev/null"), b"new")
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"content")
    reader.join(10)
    assert (received, pipe.is_fifo()) == ([b"content"], True)


@pytest.mark.usefixtures("_temporary")
def test_exception_leaves_only_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), AtomicFile(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], b"old")


@pytest.mark.usefixtures("_temporary")
@pytest.mark.parametrize("size", [2 * PAGE, 2 << 20], ids=["at-commit", "at-write"])
def test_full_disk_leaves_only_old_file(full_disk: Path, size: int) -> None:
    path = full_disk / "report"
    path.write_bytes(b"")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, bytes(size))
    assert caught.value.errno == errno.ENOSPC
    assert sorted(each.name for each in full_disk.iterdir()) == ["others", "report"]
    (full_disk / "others").unlink()
    write_atomically(path, bytes(2 * PAGE))
    assert path.stat().st_size == 2 * PAGE


@pytest.mark.usefixtures("_temporary")
@pytest.mark.parametrize(
    ("name", "error"), [("directory", IsADirectoryError), ("missing/report", FileNotFoundError), ("loop", OSError)]
)
def test_impossible_path_leaves_nothing(tmp_path: Path, name: str, error: type[OSError]) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(error):
        write_atomically(tmp_path / name, b"new")
    assert {path.name for path in tmp_path.rglob("*")} == {"directory", "loop"}


@pytest.mark.usefixtures("_temporary")
def test_file_and_directory_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[bool, bool]] = []
    path = tmp_path / "report"
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append((stat.S_ISDIR(os.fstat(number).st_mode), path.exists()))
    )
    write_atomically(path, b"new")
    assert synced == [(False, False), (True, True)]
