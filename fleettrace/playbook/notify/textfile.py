"""Metrics of audits for node_exporter's textfile collector: what was found, and when a play last succeeded.

One file may serve many plays: each replaces its own samples and leaves those of the others.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.playbook.findings import Certainty, Severity
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.stamp import check_folder
from fleettrace.report.escape import escape_text

__all__ = ["LAST_SUCCESS", "TextfileTarget"]

LAST_SUCCESS = "fleettrace_audit_last_success_timestamp_seconds"

_HELP = {
    "fleettrace_audit_findings": "Findings of the last run of the play.",
    "fleettrace_audit_succeeded": "1 when the last run of the play did what it was to do.",
    "fleettrace_audit_exit_code": "Exit code of the last run of the play.",
    "fleettrace_audit_hosts_missing": "Hosts that some or all traffic was missing of.",
    "fleettrace_audit_last_run_timestamp_seconds": "When the play last ended.",
    LAST_SUCCESS: "When the play last ended with success.",
}
"""The metrics, in the order of the file."""

_SAMPLE = re.compile(r"(fleettrace_audit_[a-z_]+)\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\} (\S+)")


@dataclass(frozen=True, slots=True)
class TextfileTarget:
    """A file of the textfile collector, named `*.prom`; written after every run."""

    path: Path

    def __post_init__(self) -> None:
        if self.path.suffix != ".prom":
            raise ValueError(f"{str(self.path)!r}: the textfile collector reads only files named *.prom")

    @property
    def on(self) -> NotifyWhen:
        """Always: metrics say how it is."""
        return NotifyWhen.EVERY

    @property
    def name(self) -> str:
        """The file."""
        return f"textfile {self.path}"

    @property
    def address(self) -> str:
        """The file."""
        return f"textfile\0{self.path.absolute()}"

    def check(self) -> None:
        """Raise `NotifyError` when it cannot be written."""
        check_folder(self.path)

    def tell(self, notice: Notice, news: FindingChanges) -> None:  # noqa: ARG002
        """Replace the play's samples. Raises `NotifyError`."""
        try:
            with _alone(self.path.absolute().parent):
                known = _read(self.path)
                write_atomically(self.path, _text(_updated(known, notice)).encode(), 0o644)
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "what is there is no text of ours"
            raise NotifyError(f"cannot write {self.path}: {words}") from None


_Samples = dict[str, dict[str, str]]
"""By metric and labels."""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two plays that end at once write one after the other. The lock is on the folder: a file would be collected."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> _Samples:
    """What the file has of ours; whatever else is in it is let go."""
    samples: _Samples = {}
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            found = _SAMPLE.fullmatch(line)
            if found is not None and found[1] in _HELP:
                samples.setdefault(found[1], {})[found[2]] = found[3]
    return samples


def _updated(known: _Samples, notice: Notice) -> _Samples:
    whose = _labels(playbook=notice.playbook, play=notice.play)
    samples = {
        name: {labels: value for labels, value in known.get(name, {}).items() if not _is_of(labels, whose)}
        for name in _HELP
    }
    samples["fleettrace_audit_findings"] |= {
        f"{whose},{_labels(severity=severity, certainty=sure)}": str(notice.findings.number(severity, sure))
        for severity in Severity
        for sure in Certainty
    }
    samples["fleettrace_audit_succeeded"][whose] = str(int(notice.succeeded))
    samples["fleettrace_audit_exit_code"][whose] = str(notice.exit_code)
    if notice.report is not None:
        samples["fleettrace_audit_hosts_missing"][whose] = str(len(notice.report.totals.missing))
    samples["fleettrace_audit_last_run_timestamp_seconds"][whose] = f"{notice.at:.3f}"
    before = known.get(LAST_SUCCESS, {}).get(whose)
    if notice.succeeded or before is not None:
        samples[LAST_SUCCESS][whose] = f"{notice.at:.3f}" if notice.succeeded else str(before)
    return samples


def _is_of(labels: str, whose: str) -> bool:
    return labels == whose or labels.startswith(f"{whose},")


def _labels(**values: str) -> str:
    quoted = {name: escape_text(value).replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()}
    return ",".join(f'{name}="{value}"' for name, value in quoted.items())


def _text(samples: _Samples) -> str:
    lines = []
    for name, words in _HELP.items():
        if samples[name]:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
            lines += [f"{name}{{{labels}}} {value}" for labels, value in samples[name].items()]
    return "".join(f"{line}\n" for line in lines)
