"""Telling a program: the notice as JSON on its standard input. No byte of a key or a host gets into its arguments."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass

from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.process import feed

__all__ = ["CommandTarget"]


@dataclass(frozen=True, slots=True)
class CommandTarget:
    """A program of the user's, run without a shell."""

    program: tuple[str, ...]
    """The program and its arguments, as the playbook has them."""
    timeout_s: float = 30.0
    on: NotifyWhen = NotifyWhen.CHANGE

    def __post_init__(self) -> None:
        if not self.program or not self.program[0]:
            raise ValueError("a command is a program and its arguments")
        if any("\0" in word for word in self.program):
            raise ValueError("a program's arguments cannot hold a NUL byte")

    @property
    def name(self) -> str:
        """The program without its arguments, which may be secret."""
        return f"command {self.program[0]}"

    @property
    def address(self) -> str:
        """All of it."""
        return "\0".join(("command", *self.program))

    def check(self) -> None:
        """Raise `NotifyError` when there is no such program."""
        if shutil.which(self.program[0], os.X_OK) is None:
            raise NotifyError(f"there is no program {self.program[0]}, or it cannot be run")

    def tell(self, notice: Notice, news: FindingChanges) -> None:
        """Run it. Raises `NotifyError`."""
        feed(self.program, json.dumps(notice.document(news)).encode() + b"\n", self.timeout_s)
