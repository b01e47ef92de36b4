"""The bpftrace of each release loads every program that fleettrace generates for it, on each kernel."""

from __future__ import annotations

import pytest

from tests.machines.cells import LOADS, REFUSED, Load
from tests.machines.load import Cell, load
from tests.machines.programs import PROGRAMS, text
from tests.machines.results import keep_load

pytestmark = [pytest.mark.machines, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("booted", LOADS, ids=str)
def test_every_verifier_accepts_every_program(booted: Load) -> None:
    cells = [Cell(suite, name, text(name, suite, booted.arch)) for suite in booted.suites for name in PROGRAMS]
    cells += [
        Cell(suite, "both, other bound", text("both", suite, booted.arch, other_bound=True)) for suite in booted.suites
    ]
    loaded = load(booted.kernel, cells, arch=booted.arch, words=booted.words, headers=booted.headers)
    keep_load(str(booted), loaded)
    unexpected = [
        f"{loaded.bpftrace[verdict.cell.suite]} {verdict.cell.name}: {verdict.reason}"
        for verdict in loaded.verdicts
        if verdict.cell.name in PROGRAMS
        and not verdict.loaded
        and not any(known.explains(booted, verdict.cell, verdict.reason) for known in REFUSED)
    ]
    assert unexpected == []
