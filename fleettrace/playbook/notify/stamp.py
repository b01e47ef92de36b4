"""A file that says when the play last succeeded: what is old is seen by `find -mmin`, Nagios or systemd alike."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.text_format import rfc3339

__all__ = ["StampTarget", "check_folder"]


@dataclass(frozen=True, slots=True)
class StampTarget:
    """A file of one line, replaced after every run that succeeded."""

    path: Path

    @property
    def on(self) -> NotifyWhen:
        """Always."""
        return NotifyWhen.EVERY

    @property
    def name(self) -> str:
        """The file."""
        return f"stamp {self.path}"

    @property
    def address(self) -> str:
        """The file."""
        return f"stamp\0{self.path.absolute()}"

    def check(self) -> None:
        """Raise `NotifyError` when it cannot be written."""
        check_folder(self.path)

    def tell(self, notice: Notice, news: FindingChanges) -> None:  # noqa: ARG002
        """Write the time, if the play succeeded. Raises `NotifyError`."""
        if not notice.succeeded:
            return
        try:
            write_atomically(self.path, f"{rfc3339(datetime.fromtimestamp(notice.at, UTC))}\n".encode(), 0o644)
            os.utime(self.path, (notice.at, notice.at))
        except OSError as error:
            raise NotifyError(f"cannot write {self.path}: {error.strerror}") from None


def check_folder(path: Path) -> None:
    """Raise `NotifyError` when no file can be put there."""
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK) or path.is_dir():
        raise NotifyError(f"cannot write {path}: there is no such folder, or it cannot be written to")
