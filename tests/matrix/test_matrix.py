"""Exact requests and kinds of every key, for each build of memcached, each bpftrace and each protocol."""

from __future__ import annotations

from collections import Counter

import pytest

from fleettrace.probes.model import ProbeKind
from fleettrace.summary.key import Key
from tests.e2e.command import REPOSITORY
from tests.matrix.conftest import BLIND, BUILDS, MISSES, Matrix
from tests.matrix.roots import RELEASES
from tests.matrix.traffic import Protocol, protocol_of

pytestmark = [pytest.mark.lab, pytest.mark.slow]

cells = pytest.mark.parametrize("release", RELEASES)
builds = pytest.mark.parametrize("name", BUILDS)


@cells
@builds
@pytest.mark.parametrize("protocol", Protocol)
def test_every_key_and_kind_is_exact(matrix: Matrix, release: str, name: str, protocol: Protocol) -> None:
    summary = matrix.traced[release, name].summary
    assert summary is not None, matrix.traced[release, name].result.error
    truth = {slot: count for slot, count in matrix.truth[name].ops.items() if protocol_of(slot[0]) is protocol}
    assert len(truth) > 250
    counted = Counter(
        {
            (key.data, op): count
            for key, known in summary.keys.items()
            if protocol_of(key.data) is protocol
            for op, count in (known.ops or {"unknown": known.requests}).items()
        }
    )
    assert counted == truth


@pytest.mark.parametrize("release", (*RELEASES, *BLIND, *MISSES))
@builds
def test_nothing_else_is_counted(matrix: Matrix, release: str, name: str) -> None:
    summary = matrix.traced[release, name].summary
    assert summary is not None
    by_key = matrix.truth[name].requests
    assert {key: known.requests for key, known in summary.keys.items()} == {
        Key.whole(key): count for key, count in by_key.items()
    }
    assert (summary.total, summary.absent) == (by_key.total(), 0)


@pytest.mark.parametrize("tracer", MISSES)
@builds
def test_misses_are_exact_with_one_probe(matrix: Matrix, tracer: str, name: str) -> None:
    traced, truth = matrix.traced[tracer, name], matrix.truth[name]
    assert traced.summary is not None, traced.result.error
    assert "return probe" not in traced.result.probe.why
    assert traced.result.probe.cost == matrix.traced[MISSES[tracer], name].result.probe.cost
    counted = {key.data: (known.requests, known.misses) for key, known in traced.summary.keys.items()}
    assert counted == {key: (count, truth.misses[key]) for key, count in truth.requests.items()}
    assert 1000 < truth.misses.total() < truth.requests.total() - 100


@cells
@builds
def test_item_probe_is_chosen_and_cheap(matrix: Matrix, release: str, name: str) -> None:
    probe = matrix.traced[release, name].result.probe
    assert (probe.probe_kind, probe.exact) == (ProbeKind.ITEM.value, True)
    assert probe.cost is not None
    assert probe.cost < 5


@pytest.mark.parametrize("tracer", BLIND)
@builds
def test_probe_without_overlay_uses_symbol_or_address(matrix: Matrix, tracer: str, name: str) -> None:
    probe = matrix.traced[tracer, name].result.probe
    assert (probe.probe_kind, probe.exact, probe.overlay) == (ProbeKind.ITEM.value, True, False)
    with_overlay = matrix.traced[BLIND[tracer], name].result.probe
    assert not with_overlay.overlay or probe.why != with_overlay.why


def test_docs_table_equals_the_matrix(matrix: Matrix) -> None:
    rows = []
    for name in BUILDS:
        cells = []
        for release in RELEASES:
            probe = matrix.traced[release, name].result.probe
            cells.append(f"`{probe.probe_kind}` by {'overlay' if probe.overlay else 'symbol'}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    assert table in (REPOSITORY / "docs/probes.md").read_text(), f"the table has to be:\n{table}"
