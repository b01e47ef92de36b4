"""pipx, uv and a single file install fleettrace for a user who has no clone, and what is installed traces a fleet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import run
from tests.dist.conftest import Packages
from tests.dist.installed import bare, check_traces

pytestmark = [pytest.mark.dist, pytest.mark.timeout(900)]


def test_packages_are_the_same_bytes_twice(packages: Packages, rebuilt: Packages) -> None:
    names = sorted(path.name for path in packages.directory.iterdir())
    assert len(names) == 6
    assert names == sorted(path.name for path in rebuilt.directory.iterdir())
    assert [name for name in names if packages.path(name).read_bytes() != rebuilt.path(name).read_bytes()] == []


def test_checksums_are_those_of_the_packages(packages: Packages) -> None:
    run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=packages.directory)


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_pipx_installs_it(packages: Packages, lab: Lab, tmp_path: Path, pattern: str) -> None:
    # Debian's own pipx and Python.
    run([*bare(tmp_path), "/usr/bin/pipx", "install", packages.path(pattern)], seconds=600)
    check_traces(lab, [*bare(tmp_path), f"{tmp_path}/.local/bin/fleettrace"])


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_uv_tool_installs_it(packages: Packages, lab: Lab, tmp_path: Path, pattern: str) -> None:
    uv = [str(Path(sys.executable).with_name("uv")), "tool", "install", "--python", "/usr/bin/python3"]
    run([*bare(tmp_path), *uv, packages.path(pattern)], seconds=600)
    check_traces(lab, [*bare(tmp_path), f"{tmp_path}/.local/bin/fleettrace"])


def test_single_file_traces(packages: Packages, lab: Lab, tmp_path: Path) -> None:
    check_traces(lab, [*bare(tmp_path), str(packages.path("fleettrace.pyz"))])
