"""Write metrics of audits for node_exporter's textfile collector: findings, and the time of the last success.

One file can serve many plays: each replaces its own samples and keeps those of the others.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.playbook.findings import Certainty, Severity
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.stamp import check_writable
from fleettrace.report.escape import escape_text
from fleettrace.yaml_reader.tree import Location

__all__ = ["LAST_SUCCESS", "TextfileTarget"]

LAST_SUCCESS = "fleettrace_audit_last_success_timestamp_seconds"

_HELP = {
    "fleettrace_audit_findings": "Findings of the last run of the play.",
    "fleettrace_audit_succeeded": "1 when the last run of the play succeeded.",
    "fleettrace_audit_exit_code": "Exit code of the last run of the play.",
    "fleettrace_audit_hosts_missing": "Hosts with incomplete or absent data.",
    "fleettrace_audit_last_run_timestamp_seconds": "Time of the last end of the play.",
    LAST_SUCCESS: "Time of the last end of the play with success.",
}
"""The metrics in the order of the file, each with its help text."""

_SAMPLE = re.compile(r"(fleettrace_audit_[a-z_]+)\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\} (\S+)")


@dataclass(frozen=True, slots=True)
class TextfileTarget:
    """A file of the textfile collector, named `*.prom`; written after every run."""

    path: Path
    origin: Location | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.path.suffix != ".prom":
            raise ValueError(f"{str(self.path)!r}: the textfile collector reads only files named *.prom")

    @property
    def on(self) -> NotifyWhen:
        """Return EVERY."""
        return NotifyWhen.EVERY

    @property
    def repeat_s(self) -> None:
        """Return None: it is written after every run."""

    @property
    def name(self) -> str:
        """Return the file."""
        return f"textfile {self.path}"

    @property
    def address(self) -> str:
        """Return the file."""
        return f"textfile\0{self.path.absolute()}"

    def check(self) -> None:
        """Raise `NotifyError` when the file cannot be written."""
        check_writable(self.path)

    def send(self, notice: Notice, changes: FindingChanges) -> None:  # noqa: ARG002
        """Replace the play's samples. Raise `NotifyError`."""
        try:
            with _locked(self.path.absolute().parent):
                known = _read(self.path)
                write_atomically(self.path, _text(_updated(known, notice)).encode(), 0o644)
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "it is not UTF-8, so fleettrace did not write it"
            raise NotifyError(f"cannot write {self.path}: {words}") from None


_Samples = dict[str, dict[str, str]]
"""Values by metric and labels."""


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a lock while a play writes. It is on the directory, because the collector would read a lock file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> _Samples:
    """Return the samples of audits in the file; other content is dropped."""
    samples: _Samples = {}
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            found = _SAMPLE.fullmatch(line)
            if found is not None and found[1] in _HELP:
                samples.setdefault(found[1], {})[found[2]] = found[3]
    return samples


def _updated(known: _Samples, notice: Notice) -> _Samples:
    """Return the samples of the file with those of this play replaced."""
    play_labels = _labels(playbook=notice.playbook, play=notice.play)
    samples = {
        name: {labels: value for labels, value in known.get(name, {}).items() if not _is_of(labels, play_labels)}
        for name in _HELP
    }
    samples["fleettrace_audit_findings"] |= {
        f"{play_labels},{_labels(severity=severity, certainty=one)}": str(notice.findings.number(severity, one))
        for severity in Severity
        for one in Certainty
    }
    samples["fleettrace_audit_succeeded"][play_labels] = str(int(notice.succeeded))
    samples["fleettrace_audit_exit_code"][play_labels] = str(notice.exit_code)
    if notice.report is not None:
        samples["fleettrace_audit_hosts_missing"][play_labels] = str(len(notice.report.totals.missing))
    samples["fleettrace_audit_last_run_timestamp_seconds"][play_labels] = f"{notice.at:.3f}"
    before = known.get(LAST_SUCCESS, {}).get(play_labels)
    if notice.succeeded or before is not None:
        samples[LAST_SUCCESS][play_labels] = f"{notice.at:.3f}" if notice.succeeded else str(before)
    return samples


def _is_of(labels: str, play_labels: str) -> bool:
    return labels == play_labels or labels.startswith(f"{play_labels},")


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
