"""The programs for stock Debian nodes load there, on both architectures. `make test` runs this small part of
`make test-kernels`."""

from __future__ import annotations

import pytest

from tests.machines.load import Cell, Loaded, load
from tests.machines.programs import BY_RETURN, text

pytestmark = pytest.mark.slow

STOCK = {
    ("6.1", "amd64"): {"bookworm": ("item", "misses", "sizes", "both"), "trixie": (f"both{BY_RETURN}",)},
    ("5.10", "amd64"): {"bullseye": ("item", "both"), "trixie": (f"misses{BY_RETURN}",)},
    ("6.1", "arm64"): {"bookworm": ("item", "both"), "trixie": ("item",)},
}
"""Kernel and architecture, and the programs to load with each release's bpftrace, about ten seconds each. Only these
verifiers once refused those of trixie. They refuse the exit of `misses` under its bpftrace 0.23.2 (`R2 min value is
negative`), and get the return probe (fleettrace.probes.variants)."""


@pytest.fixture(scope="module", params=STOCK, ids=" ".join)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    kernel, arch = request.param
    suites = STOCK[request.param].items()
    cells = [Cell(suite, name, text(name, suite, arch)) for suite, names in suites for name in names]
    return load(kernel, cells, arch=arch)


def test_verifier_accepts_every_program(loaded: Loaded) -> None:
    refused = {
        (verdict.cell.suite, verdict.cell.name): verdict.reason for verdict in loaded.verdicts if not verdict.loaded
    }
    assert refused == {}
