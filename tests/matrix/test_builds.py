"""Builds of every kind: requests, kinds and misses are exact where the report has them, else null."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleettrace.lab.truth import OP_OF_VERB
from fleettrace.probes.model import ProbeOptions
from fleettrace.summary.key import Key
from tests.matrix.cells import Cell, Compiler, Extra, allowed, cells, pairs
from tests.matrix.compiled import binary, recipe_of
from tests.matrix.requests import sole_key
from tests.matrix.results import keep
from tests.matrix.tracing import Counted, trace_builds

_AT_ONCE = 9
"""Builds traced by one bpftrace."""
OPTIONS = {"plain": ProbeOptions(), "misses": ProbeOptions(misses=True)}
CI = tuple(
    cell
    for cell in cells()
    if str(cell)
    in (
        "gcc O0 mold pie id stripped plain",
        "gcc O2 ld no-pie no-id stripped fentry",
        "gcc O2 lld pie id symbols pg",
        "clang O3 lld no-pie no-id stripped no-unwind",
    )
)
"""The builds that every run of the tests traces: unusual entries, frames and unwind tables."""
INLINED = (Compiler.CLANG, Extra.PGO_LTO)
"""Builds with do_item_get inlined into several functions, so that no exact probe is known."""
Trace = Callable[[Cell], dict[str, Counted]]


def test_every_allowed_pair_is_in_the_table() -> None:
    assert {pair for cell in cells() for pair in pairs(cell)} == {pair for cell in allowed() for pair in pairs(cell)}
    assert len(set(cells())) == len(cells()) >= 40


@pytest.mark.lab
def test_builds_of_the_ci_subset_are_exact(tmp_path: Path) -> None:
    assert len(CI) == 4
    for name, options in OPTIONS.items():
        directory = tmp_path / name
        directory.mkdir()
        for cell, one in trace_builds({str(cell): binary(cell) for cell in CI}, options, directory).items():
            assert one.result.probe.exact
            assert (cell, faults_of(one)) == (cell, [])


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Return a function that traces a cell and its neighbours in the table, without misses and with them."""
    done: dict[Cell, dict[str, Counted]] = {}

    def trace(cell: Cell) -> dict[str, Counted]:
        if cell not in done:
            start = cells().index(cell) // _AT_ONCE * _AT_ONCE
            batch = cells()[start : start + _AT_ONCE]
            for name, options in OPTIONS.items():
                directory: Path = tmp_path_factory.mktemp("builds")
                counted = trace_builds({str(each): binary(each) for each in batch}, options, directory)
                for each in batch:
                    done.setdefault(each, {})[name] = counted[str(each)]
        return done[cell]

    return trace


@pytest.mark.lab
@pytest.mark.builds
@pytest.mark.parametrize("cell", cells(), ids=lambda cell: str(cell).replace(" ", "-"))
def test_counts_kinds_and_misses_are_never_wrong(cell: Cell, traced: Trace) -> None:
    counted = traced(cell)
    faults = [f"{name}: {fault}" for name, one in counted.items() for fault in faults_of(one)]
    keep(str(cell), facts(cell, counted, faults))
    assert not faults
    inexact = {name: one.result.probe.why for name, one in counted.items() if not one.result.probe.exact}
    assert not inexact or (cell.compiler, cell.extra) == INLINED


def faults_of(counted: Counted) -> list[str]:
    """Return the differences between the report and the truth, a few of each kind.

    Where the probe's `why` announces that created counters count twice, as arith and as a store, the second count is
    allowed; the analysis may still recognise one of the two ways to create a counter.
    """
    summary, sent = counted.summary, counted.sent
    if summary is None:
        return [f"nothing was counted: {counted.result.error}"]
    if twice(counted):
        requests = sent.requests
        once = {key.data for key, known in summary.keys.items() if known.requests == requests[key.data]}
        sent = sent.with_stores_of_counters(once)
    truth = {Key.whole(key): count for key, count in sent.requests.items()}
    faults: list[str] = []
    if not counted.result.probe.exact:
        # The report of an approximate probe kind claims no exact number to compare.
        return []
    wrong = {
        key: (count, truth.get(key, 0)) for key, count in _requests(counted).items() if count != truth.get(key, 0)
    } | {key: (0, count) for key, count in truth.items() if key not in summary.keys}
    faults += [f"{key.data!r} has {got} requests, not {right}" for key, (got, right) in list(wrong.items())[:5]]
    if (summary.total, summary.absent) != (sum(truth.values()), 0):
        faults.append(f"total {summary.total} (absent {summary.absent}), not {sum(truth.values())}")
    for key, known in summary.keys.items():
        ops = {op: count for (name, op), count in sent.ops.items() if name == key.data} if known.ops else None
        if known.ops is not None and known.ops != ops:
            faults.append(f"{key.data!r} has kinds {known.ops}, not {ops}")
        if known.misses is not None and known.misses != sent.misses[key.data]:
            faults.append(f"{key.data!r} has {known.misses} misses, not {sent.misses[key.data]}")
    return faults[:10]


def twice(counted: Counted) -> bool:
    """Return whether the report announces that created counters count twice."""
    return "counts twice" in counted.result.probe.why


def _requests(counted: Counted) -> dict[Key, int]:
    assert counted.summary is not None
    return {key: known.requests for key, known in counted.summary.keys.items()}


def facts(cell: Cell, counted: dict[str, Counted], faults: list[str]) -> dict[str, object]:
    """Return a row of the table."""
    plain, misses = counted["plain"], counted["misses"]
    probe, made = plain.result.probe, recipe_of(cell)
    verbs = {
        name: [
            verb
            for verb in OP_OF_VERB
            if one.summary is None
            or (known := one.summary.keys.get(Key.whole(sole_key(verb)))) is None
            or getattr(known, what) is None
        ]
        for name, one, what in (("kinds", plain, "ops"), ("misses", misses, "misses"))
    }
    way = "overlay" if probe.overlay else "file offset" if "by its file offset" in probe.why else "symbol"
    return {
        "flags": made.cflags,
        "link": made.ldflags,
        "stripped": made.stripped,
        "profiled": made.profiled,
        "claims": probe.exact,
        "probe": f"`{probe.probe_kind}`" + (f" by {way}" if probe.probe_kind == "item" else ""),
        "why": probe.why,
        "requests": plain.sent.requests.total() + misses.sent.requests.total(),
        "exact": not faults,
        "twice": twice(plain) or twice(misses),
        "faults": faults,
        "unknown kinds": verbs["kinds"],
        "unknown misses": verbs["misses"],
        "verbs": len(OP_OF_VERB),
    }
