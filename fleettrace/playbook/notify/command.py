"""Send a notice to a program as JSON on its standard input; its arguments hold no byte of a key or a host."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field

from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.process import feed
from fleettrace.yaml_reader.tree import Location

__all__ = ["CommandTarget"]


@dataclass(frozen=True, slots=True)
class CommandTarget:
    """A program of the user, run without a shell."""

    program: tuple[str, ...]
    """The program and its arguments, as in the playbook."""
    timeout_s: float = 30.0
    on: NotifyWhen = NotifyWhen.CHANGE
    repeat_s: float | None = None
    origin: Location | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.program or not self.program[0]:
            raise ValueError("the command is empty: expected a program and its arguments")
        if any("\0" in word for word in self.program):
            raise ValueError("a program's arguments cannot hold a NUL byte")

    @property
    def name(self) -> str:
        """Return the program without its arguments, which may be secret."""
        return f"command {self.program[0]}"

    @property
    def address(self) -> str:
        """Return the program with its arguments."""
        return "\0".join(("command", *self.program))

    def check(self) -> None:
        """Raise `NotifyError` when the program is missing or not executable."""
        if shutil.which(self.program[0], os.X_OK) is None:
            raise NotifyError(f"{self.program[0]} is not an executable program")

    def send(self, notice: Notice, changes: FindingChanges) -> None:
        """Run the program. Raise `NotifyError`."""
        feed(self.program, json.dumps(notice.document(changes)).encode() + b"\n", self.timeout_s)
