"""The demo's traffic has the patterns that its report should show."""

from __future__ import annotations

import time

import pytest

from fleettrace.lab.demo import FAMILY, HOT, HOT_HOST, LARGE, LARGE_HOST, LATE, WARM, demo_lab
from tests.lab.traces import traces_of

pytestmark = pytest.mark.lab


def test_demo_traffic_has_its_patterns() -> None:
    with demo_lab(seconds=30, rate=300) as demo:
        name = demo.lab.id
        time.sleep(2)
        demo.begin_late()
        time.sleep(1.5)
        truth = demo.stop()
        assert demo.errors == []
        stats = demo.lab.hosts["cache-001"].instance().stats()
        verbs = truth.by_verb("cache-001")
        assert int(stats["cmd_get"]) == verbs["get"] + verbs["gets"] + verbs["mg"]
    assert traces_of(name) == []
    everywhere = truth.by_key()
    assert truth.by_key(HOT_HOST).most_common(1)[0][0] == HOT
    assert HOT not in truth.by_key("cache-001")
    assert {instance.host for instance in truth.instances if LARGE in truth.by_key(instance.host)} == {LARGE_HOST}
    assert all(WARM in truth.by_key(instance.host) for instance in truth.instances)
    assert all(0 < truth.by_key(instance.host)[LATE] < 0.2 * truth.total(instance.host) for instance in truth.instances)
    prefix, suffix = (part.encode() for part in FAMILY.split("{n}"))
    family = [count for key, count in everywhere.items() if key.startswith(prefix) and key.endswith(suffix)]
    assert sum(family) > 0.1 * truth.total()
    assert max(family) < 0.01 * truth.total()
