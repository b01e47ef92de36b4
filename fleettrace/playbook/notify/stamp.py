"""Write the time of a play's last success to a file; `find -mmin`, Nagios or systemd can watch its age."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.text_format import rfc3339
from fleettrace.yaml_reader.tree import Location

__all__ = ["StampTarget", "check_writable"]


@dataclass(frozen=True, slots=True)
class StampTarget:
    """A file of one line, replaced after every run that succeeds."""

    path: Path
    origin: Location | None = field(default=None, compare=False, repr=False)

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
        return f"stamp {self.path}"

    @property
    def address(self) -> str:
        """Return the file."""
        return f"stamp\0{self.path.absolute()}"

    def check(self) -> None:
        """Raise `NotifyError` when the file cannot be written."""
        check_writable(self.path)

    def send(self, notice: Notice, changes: FindingChanges) -> None:  # noqa: ARG002
        """Write the time if the play succeeded. Raise `NotifyError`."""
        if not notice.succeeded:
            return
        try:
            write_atomically(self.path, f"{rfc3339(datetime.fromtimestamp(notice.at, UTC))}\n".encode(), 0o644)
            os.utime(self.path, (notice.at, notice.at))
        except OSError as error:
            raise NotifyError(f"cannot write {self.path}: {error.strerror}") from None


def check_writable(path: Path) -> None:
    """Raise `NotifyError` when `path` cannot be created or replaced."""
    directory = path.absolute().parent
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK) or path.is_dir():
        raise NotifyError(f"cannot write {path}: its directory does not exist or is not writable")
