"""The offset of a client's descriptor is read from the binary's own code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError
from tests.binary.builds import BUILDS, CI_BUILDS, build, cache, extra_binaries, installed

SFD_OF_1_6_18 = 8
"""`sfd` follows `sasl_conn`, a pointer, in struct conn (memcached.h of 1.6.18)."""


OFFSETS = {"1.4.39": 0, "1.5.22": 8, "1.6.38": 344, "1.6.45": 344}
"""`sfd` of struct conn up to 1.6.18, `cur_sfd` of LIBEVENT_THREAD after that, with gcc -O2 on x86-64."""


def _cases() -> list[tuple[str, int]]:
    """Return our builds of 1.6.18, and other versions where the tests' cache has them; each with its offset."""
    ours = [name for name in BUILDS if name in CI_BUILDS or (cache() / "binary" / name / "memcached").exists()]
    others = {path: path.parent.name.split("-")[0] for path in extra_binaries()}
    known = [(str(path), OFFSETS[version]) for path, version in others.items() if version in OFFSETS]
    return [*((name, SFD_OF_1_6_18) for name in ours), *known]


@pytest.mark.parametrize(("name", "offset"), _cases())
def test_every_build_shows_its_offset(name: str, offset: int, tmp_path: Path) -> None:
    path = build(name) if name in BUILDS else Path(name)
    subprocess.run(["strip", "-o", str(tmp_path / "stripped"), str(path)], check=True)
    for each in (path, tmp_path / "stripped"):
        assert analyse(each.read_bytes()).descriptor == offset


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
