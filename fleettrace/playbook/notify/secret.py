"""The secret that webhooks are signed with: in a file that nobody else can read, or in an environment variable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleettrace.playbook.notify.interface import NotifyError

__all__ = ["SECRET_MIN", "Secret"]

SECRET_MIN = 16
"""Bytes in the shortest secret that is taken: a shorter one can be tried out."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is; exactly one of the two. It is read when it is needed, and never shown."""

    file: Path | None = None
    variable: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.variable is None):
            raise ValueError("a secret is in a file or in a variable of the environment: name one of them")

    def read(self, environ: Mapping[str, str] = os.environ) -> bytes:
        """The secret, without white space around it. Raises `NotifyError`."""
        where, value = self._value(environ)
        if len(value) < SECRET_MIN:
            raise NotifyError(
                f"the secret in {where} is too short: expected {SECRET_MIN} bytes or more (`openssl rand -hex 32` "
                "makes one)"
            )
        return value

    def _value(self, environ: Mapping[str, str]) -> tuple[str, bytes]:
        if self.variable is not None:
            if self.variable not in environ:
                raise NotifyError(f"the variable {self.variable}, which is to hold the secret, is not set")
            return self.variable, os.fsencode(environ[self.variable]).strip()
        assert self.file is not None
        try:
            about = self.file.stat()
            if about.st_mode & 0o077:
                raise NotifyError(f"others can read the secret in {self.file}: chmod 600 {self.file}")
            return str(self.file), self.file.read_bytes().strip()
        except OSError as error:
            raise NotifyError(f"cannot read the secret in {self.file}: {error.strerror}") from None
