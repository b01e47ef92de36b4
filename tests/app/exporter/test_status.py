"""The served metrics show how old the result is, and an old one is no longer served."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from fleettrace.app.exporter.status import Outcome, Status

REPORT = "# HELP fleettrace_hosts_traced X\n# TYPE fleettrace_hosts_traced gauge\nfleettrace_hosts_traced 7\n# EOF\n"


class Served:
    """A status with clocks that a test moves: a sweep every 10 s, results of at most 30 s."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.status = Status(10.0, 30.0, lambda: self.now, lambda: 1.8e9 + self.now)

    def sweep(self, outcome: Outcome, text: str | None, seconds: float = 2.0) -> None:
        self.status.begin()
        self.now += seconds
        self.status.end(outcome, text)

    def value(self, name: str, **labels: str) -> float | None:
        found = [
            sample.value
            for family in text_string_to_metric_families(self.status.text().decode())
            for sample in family.samples
            if (sample.name, sample.labels) == (f"fleettrace_{name}", labels)
        ]
        return found[0] if found else None


def test_nothing_is_known_before_the_first_sweep() -> None:
    served = Served()
    for name in ("exporter_result_age_seconds", "exporter_last_sweep_succeeded", "hosts_traced"):
        assert served.value(name) is None
    assert served.value("exporter_sweeps_total", outcome="failed") == 0


def test_age_counts_from_the_start_of_the_sweep() -> None:
    served = Served()
    served.sweep(Outcome.OK, REPORT)
    served.now += 5
    assert served.value("exporter_result_age_seconds") == 7
    assert served.value("exporter_last_sweep_timestamp_seconds") == 1.8e9 + 1002
    assert served.value("exporter_last_sweep_duration_seconds") == 2
    assert served.value("hosts_traced") == 7


def test_failed_sweep_is_visible_beside_the_last_result() -> None:
    served = Served()
    served.sweep(Outcome.INCOMPLETE, REPORT)
    assert served.value("exporter_last_sweep_succeeded") == 1
    served.now += 8
    served.sweep(Outcome.FAILED, None)
    assert served.value("exporter_last_sweep_succeeded") == 0
    assert served.value("exporter_sweeps_total", outcome="failed") == 1
    assert (served.value("hosts_traced"), served.value("exporter_result_age_seconds")) == (7, 12)


def test_result_is_served_until_it_expires() -> None:
    served = Served()
    served.sweep(Outcome.OK, REPORT)
    served.now += 27
    assert served.value("hosts_traced") == 7
    served.now += 2
    assert (served.value("hosts_traced"), served.value("exporter_result_age_seconds")) == (None, None)
    assert served.value("exporter_sweeps_total", outcome="ok") == 1


def test_skipped_sweep_changes_only_its_count() -> None:
    served = Served()
    served.sweep(Outcome.OK, REPORT)
    before = served.status.text()
    served.sweep(Outcome.SKIPPED, None, seconds=0)
    assert served.value("exporter_sweeps_total", outcome="skipped") == 1
    assert served.status.text() == before.replace(b'{outcome="skipped"} 0', b'{outcome="skipped"} 1')


def test_sweep_under_way_is_visible() -> None:
    served = Served()
    served.status.begin()
    assert served.value("exporter_sweep_running") == 1
    served.status.end(Outcome.OK, REPORT)
    assert served.value("exporter_sweep_running") == 0
