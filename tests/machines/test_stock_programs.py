"""The programs of a Debian 11 and 12 node load there, on both architectures: a small part of `make test-kernels` that
runs with every `make test`."""

from __future__ import annotations

import pytest

from tests.machines.load import Cell, Loaded, load
from tests.machines.programs import text

pytestmark = pytest.mark.slow

STOCK = {
    ("6.1", "bookworm", "amd64"): ("item", "misses", "sizes", "both"),
    ("5.10", "bullseye", "amd64"): ("item", "both"),
    ("6.1", "bookworm", "arm64"): ("item", "both"),
}
"""Kernel, release and architecture, and the programs to load there: each takes some ten seconds."""


@pytest.fixture(scope="module", params=STOCK, ids=" ".join)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    kernel, suite, arch = request.param
    cells = [Cell(suite, name, text(name, suite, arch)) for name in STOCK[request.param]]
    return load(kernel, cells, arch=arch)


def test_the_verifier_takes_every_program(loaded: Loaded) -> None:
    assert {verdict.cell.name: verdict.reason for verdict in loaded.verdicts if not verdict.loaded} == {}
