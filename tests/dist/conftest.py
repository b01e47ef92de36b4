"""Every package of the last commit, built twice, and a fleet of one host that each installed package traces."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.specs import HostSpec, InstanceSpec, Shape

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Packages:
    """The packages in one directory."""

    directory: Path

    def path(self, pattern: str) -> Path:
        """Return the one package with a name of this pattern."""
        (found,) = self.directory.glob(pattern)
        return found


def build(directory: Path, variables: Mapping[str, str], umask: int) -> Packages:
    command = [sys.executable, "-m", "release", "--output", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=900, env={**os.environ, **variables}, umask=umask)
    return Packages(directory)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Return the packages in `$FLEETTRACE_TEST_PACKAGES`, else build them."""
    given = os.environ.get("FLEETTRACE_TEST_PACKAGES")
    return Packages(Path(given)) if given else build(tmp_path_factory.mktemp("packages"), {}, 0o022)


@pytest.fixture(scope="session")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Build again, in another time zone and language, with another umask."""
    variables = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "1"}
    return build(tmp_path_factory.mktemp("rebuilt"), variables, 0o077)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab([HostSpec("cache-1", (InstanceSpec(11211, Shape.RENAMED), InstanceSpec(11212)))]) as made:
        yield made
