"""The probe kind `usdt`: exact in every protocol, on a build with --enable-dtrace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.lab.build import memcached_binary
from fleettrace.lab.truth import TracedInstance
from fleettrace.probes.model import ProbeKind, ProbeOptions, UnsupportedError
from fleettrace.probes.selection import choose
from tests.e2e.fleet import keys_of, plan_for
from tests.e2e.local import served

pytestmark = pytest.mark.lab


def test_usdt_probe_counts_exactly(tmp_path: Path) -> None:
    with served(tmp_path, memcached_binary("dtrace")) as memcached:
        requests = plan_for(TracedInstance("here", memcached.port), commands=200, hostile=False)
        done, truth = memcached.trace(requests, "--probe", "usdt")
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert all(row["ops"] is None and row["misses"] is None for row in done.report["keys"])
    [instance] = done.host("here")["instances"]
    assert (instance["probe"]["kind"], instance["probe"]["exact"]) == ("usdt", True)
    assert instance["coverage"] is None or instance["coverage"]["share"] == 1


def test_usdt_follows_item_in_the_selection() -> None:
    analysis = analyse(memcached_binary("dtrace").read_bytes())
    others = tuple(function for function in analysis.functions if function.name != "do_item_get")
    blind = type(analysis)(
        **{name: getattr(analysis, name) for name in analysis.__slots__}
        | {"functions": others, "missing": {**analysis.missing, "do_item_get": "not found"}}
    )
    plan = choose(blind)
    assert plan.probe_kind is ProbeKind.USDT
    assert plan.verdict.why.endswith("do_item_get: not found")
    assert choose(blind, ProbeOptions(ops=frozenset({"get"}))).probe_kind is ProbeKind.COMMAND


def test_usdt_without_enable_dtrace_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="--enable-dtrace"):
        choose(analyse(memcached_binary().read_bytes()), ProbeOptions(ProbeKind.USDT))
