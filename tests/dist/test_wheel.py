"""The wheel and the sdist are the same bytes wherever and whenever they are built."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from release.source import Source
from release.wheel import build_sdist, build_wheel

ROOT = Path(__file__).parents[2]
EPOCH = 1_790_000_000


@dataclass(frozen=True, slots=True)
class Built:
    """A wheel and an sdist."""

    wheel: Path
    sdist: Path


def built(root: Path, output: Path) -> Built:
    output.mkdir()
    source = Source(root, EPOCH)
    return Built(build_wheel(source, output), build_sdist(source, output))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built(ROOT, tmp_path_factory.mktemp("first") / "dist")


@pytest.fixture(scope="module")
def second(first: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build from the unpacked sdist: another directory, other times and modes, no git."""
    directory = tmp_path_factory.mktemp("second")
    umask = os.umask(0o077)
    try:
        with tarfile.open(first.sdist) as archive:
            archive.extractall(directory, filter="data")
        (tree,) = directory.iterdir()
        for path in tree.rglob("*"):
            os.utime(path, (0, 0))
        yield built(tree, directory / "dist")
    finally:
        os.umask(umask)


def test_wheel_is_reproducible(first: Built, second: Built) -> None:
    assert first.wheel.read_bytes() == second.wheel.read_bytes()


def test_sdist_is_reproducible(first: Built, second: Built) -> None:
    assert first.sdist.read_bytes() == second.sdist.read_bytes()


def test_sdist_contains_what_builds_the_packages(first: Built) -> None:
    with tarfile.open(first.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {member.mtime for member in archive.getmembers()} == {EPOCH}
    assert {"release/debian/postinst", "requirements/runtime.txt", "share/man/man1/fleettrace.1", "Makefile"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".git/", ".venv"))]
