"""Metrics as values, and their lines in Prometheus's text format. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

__all__ = ["Labels", "Metric", "Sample", "many", "metric_lines", "one"]

Labels = Mapping[str, str]
"""The values are escaped text (`escape.py`)."""


class Sample(NamedTuple):
    """One series of a metric; None is an unknown value."""

    labels: Labels
    value: float | None


class Metric(NamedTuple):
    """A metric with all its series. `kind` is `gauge` or `counter`."""

    name: str
    help: str
    samples: list[Sample]
    kind: str = "gauge"


def one(name: str, help_text: str, value: float | None, labels: Labels | None = None) -> Metric:
    """Return the gauge `fleettrace_NAME` with one series."""
    return many(name, help_text, [(labels or {}, value)])


def many(name: str, help_text: str, samples: Iterable[tuple[Labels, float | None]], kind: str = "gauge") -> Metric:
    """Return the metric `fleettrace_NAME` with its series."""
    return Metric(f"fleettrace_{name}", help_text, [Sample(labels, value) for labels, value in samples], kind)


def metric_lines(metric: Metric) -> Iterator[str]:
    """Yield the lines of a metric, each with its newline; none where every value is unknown."""
    known = [sample for sample in metric.samples if sample.value is not None]
    if known:
        yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"
        yield from (_line(metric.name, sample) for sample in known)


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{label}="{_quoted(value)}"' for label, value in sample.labels.items())
    return f"{name}{{{labels}}} {sample.value!r}\n" if labels else f"{name} {sample.value!r}\n"


def _quoted(value: str) -> str:
    """Quote a label value that is already escaped text, as the format requires."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
