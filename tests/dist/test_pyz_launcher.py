"""`fleettrace.pyz` unpacks itself once, for its user alone, and names the reason where it cannot run."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from release.pyz import build_pyz
from release.pyz_launcher import Interpreter, Manifest, refusal, unpack
from release.source import Source

MANIFEST = Manifest("00ff", "1.0.0", ["3.11", "3.12", "3.13"], ["x86_64", "aarch64"], "2.28", ["bcrypt", "capstone"])
PYTHON = Interpreter("cpython", "3.12", True, "aarch64", "2.36")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("glibc", ["2.28", "2.41", "3.0"])
def test_supported_python_runs_it(glibc: str) -> None:
    assert refusal(MANIFEST, replace(PYTHON, glibc=glibc)) is None


@pytest.mark.parametrize(
    ("python", "named"),
    [
        (replace(PYTHON, version="3.14"), "needs CPython 3.11 to 3.13; this is cpython 3.14"),
        (replace(PYTHON, implementation="pypy"), "this is pypy 3.12"),
        (replace(PYTHON, has_gil=False), "this is free-threaded CPython 3.12"),
        (replace(PYTHON, machine="riscv64"), "compiled libraries (bcrypt, capstone) for x86_64 and aarch64"),
        (replace(PYTHON, machine="32-bit x86_64"), "this is 32-bit x86_64 with glibc 2.36"),
        (replace(PYTHON, glibc="2.17"), "glibc 2.28 or newer; this is aarch64 with glibc 2.17"),
        (replace(PYTHON, glibc=""), "this is aarch64 with another C library"),
    ],
)
def test_refusal_names_reason_and_cure(python: Interpreter, named: str) -> None:
    reason = refusal(MANIFEST, python)
    assert reason is not None and named in reason and "install the wheel with pipx" in reason


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """An archive with a stand-in for fleettrace that prints its path and its arguments."""
    sites = {machine: tmp_path / machine for machine in ("x86_64", "aarch64")}
    for machine, site in sites.items():
        (site / "fleettrace/cli").mkdir(parents=True)
        for package in ("fleettrace", "fleettrace/cli"):
            (site / package / "__init__.py").touch()
        (site / "fleettrace/cli/main.py").write_text("import sys\ndef entry():\n    print(__file__, *sys.argv[1:])\n")
        (site / "library.so").write_text(machine)
    return build_pyz(Source(ROOT, 1_790_000_000), sites, tmp_path)


def started(archive: Path, cache: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {"XDG_CACHE_HOME": str(cache), "PATH": "/usr/bin:/bin"}
    command = [python, str(archive), "plan", "--forks=1"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_first_start_unpacks_for_this_machine(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        done = started(small, cache)
        assert (done.returncode, done.stderr) == (0, "")
        (site,) = (cache / "fleettrace/pyz").iterdir()
        assert done.stdout == f"{site}/fleettrace/cli/main.py plan --forks=1\n"
    assert (site / "library.so").read_text() in site.name
    assert [oct(path.stat().st_mode & 0o777) for path in (site, site.parent)] == ["0o700", "0o700"]


def test_interrupted_start_leaves_nothing_that_runs(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    broken = tmp_path / "broken.pyz"
    data = bytearray(small.read_bytes())
    place = data.index(b"library.so")
    data[place : place + 10] = b"librarx.so"  # the name in the entry differs from that in the table of contents
    broken.write_bytes(data)
    assert started(broken, cache).returncode != 0
    assert [path.name for path in (cache / "fleettrace/pyz").iterdir()] == []
    assert started(small, cache).returncode == 0


def test_directory_of_another_user_is_refused(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert started(small, cache).returncode == 0
    (site,) = (cache / "fleettrace/pyz").iterdir()
    site.chmod(0o777)
    done = started(small, cache)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot unpack to {site}: another user owns it or may write to it: set XDG_CACHE_HOME" in done.stderr


def test_directory_that_cannot_be_made_is_named(small: Path) -> None:
    done = started(small, small)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fleettrace: fleettrace.pyz: cannot unpack to {small}")


def test_simultaneous_starts_share_one_directory(small: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(zipfile.ZipFile(small).read("manifest.json"))
    base = tmp_path / "base"
    targets = {unpack(small, manifest, "aarch64", base) for _ in range(2)}
    assert [*base.iterdir()] == [*targets]
    assert (base / f"{manifest.version}-aarch64-{manifest.identity}/library.so").read_text() == "aarch64"
