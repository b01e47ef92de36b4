"""The secret that signs webhooks: in a file that only its owner can read, or in an environment variable."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleettrace.playbook.notify.interface import NotifyError

__all__ = ["SECRET_MIN", "Secret"]

SECRET_MIN = 16
"""Bytes of the shortest secret accepted; a shorter one can be found by trial."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The place of a secret: exactly one of the two. It is read when needed, and never shown."""

    file: Path | None = None
    variable: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.variable is None):
            raise ValueError("a secret has one source: expected either secret_file or secret_variable")

    def read(self, environ: Mapping[str, str] = os.environ) -> bytes:
        """Return the secret, without white space around it. Raise `NotifyError`."""
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
                raise NotifyError(f"the environment variable {self.variable} of the secret is not set")
            return self.variable, os.fsencode(environ[self.variable]).strip()
        assert self.file is not None
        try:
            about = self.file.stat()
            if not stat.S_ISREG(about.st_mode):
                raise NotifyError(f"cannot read the secret in {self.file}: expected a regular file")
            if about.st_mode & 0o077:
                raise NotifyError(f"other users can read the secret in {self.file}: run chmod 600 {self.file}")
            return str(self.file), self.file.read_bytes().strip()
        except OSError as error:
            raise NotifyError(f"cannot read the secret in {self.file}: {error.strerror}") from None
