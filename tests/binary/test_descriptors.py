"""The offset of a client's descriptor is read from the binary's own code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError
from tests.binary.builds import BUILDS, CI_BUILDS, build, cache, extra_binaries, installed, stripped

SFD_OF_1_6_18 = 8
"""`sfd` follows `sasl_conn`, a pointer, in struct conn (memcached.h of 1.6.18)."""


def _cached() -> list[str]:
    return [name for name in BUILDS if name in CI_BUILDS or (cache() / "binary" / name / "memcached").exists()]


@pytest.mark.parametrize("name", _cached())
def test_every_build_shows_the_same_offset(name: str) -> None:
    for path in (build(name), stripped(name)):
        assert analyse(path.read_bytes()).descriptor == SFD_OF_1_6_18


def test_packaged_binary_shows_the_offset() -> None:
    path = installed()
    if path is None:
        pytest.skip("memcached is not installed")
    assert analyse(path.read_bytes()).descriptor == SFD_OF_1_6_18


@pytest.mark.parametrize("damaged", [-1, 1 << 16, "8", True, 8.0])
def test_impossible_stored_offset_is_refused(damaged: object) -> None:
    stored = analyse(Path(build("plain")).read_bytes()).to_dict()
    with pytest.raises(BinaryError, match="damaged"):
        BinaryAnalysis.from_dict(stored | {"descriptor": damaged})


OFFSETS = {"1.4.39": 0, "1.5.22": 8, "1.6.38": 344, "1.6.45": 344}
"""`sfd` of struct conn up to 1.6.18, `cur_sfd` of LIBEVENT_THREAD after that, with gcc -O2 on x86-64."""


@pytest.mark.parametrize(
    "path", [path for path in extra_binaries() if path.parent.name.split("-")[0] in OFFSETS], ids=str
)
def test_other_versions_show_their_own_offset(path: Path, tmp_path: Path) -> None:
    subprocess.run(["strip", "-o", str(tmp_path / "stripped"), str(path)], check=True)
    for each in (path, tmp_path / "stripped"):
        assert analyse(each.read_bytes()).descriptor == OFFSETS[path.parent.name.split("-")[0]]
