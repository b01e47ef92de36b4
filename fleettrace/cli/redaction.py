"""`--redact`: how much of the keys' names is kept, and the secret behind pseudonyms, which is never an argument."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.report.redact import Redact, Redactor, redact, redacted_patterns
from fleettrace.summary.run import RunResult

__all__ = ["VARIABLE", "Redaction", "redaction"]

VARIABLE = "FLEETTRACE_REDACT_KEY"


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is done to the names of a run before anything is stored or shown."""

    how: Redact | None = None
    """None: names stay as they are."""
    secret: bytes = field(default=b"", repr=False)
    patterns: tuple[re.Pattern[bytes], ...] = ()
    """The user's own families, by the keys' real names."""

    def apply(self, run: RunResult) -> tuple[RunResult, tuple[re.Pattern[bytes], ...]]:
        """The run as it may be seen, and the user's families as they are found in it."""
        if self.how is None:
            return run, self.patterns
        return redact(run, self.how, self.secret, self.patterns), redacted_patterns(run, self.patterns)


def redaction(arguments: argparse.Namespace, environ: MutableMapping[str, str] = os.environ) -> Redaction:
    """What the options ask for. Raises `ConfigError`.

    The secret is taken out of `environ`: no process that is started from here on inherits it.
    """
    given = environ.pop(VARIABLE, None)
    place: str | None = arguments.redact_key_file
    if arguments.redact is None:
        if place is not None:
            raise ConfigError("--redact-key-file without --redact: names would be shown as they are; add --redact")
        return Redaction(patterns=tuple(arguments.template))
    how = Redact(arguments.redact)
    if how is not Redact.TEMPLATE and arguments.template:
        raise ConfigError(f"--template with --redact={how}: of such names no family is left; use --redact=template")
    if how is Redact.DROP:
        return Redaction(how)
    if place is None and given is None:
        raise ConfigError(
            f"--redact={how} needs a secret: name its file with --redact-key-file, or put it into {VARIABLE} "
            "(`openssl rand -hex 32` makes one)"
        )
    secret = _read(Path(place)) if place is not None else os.fsencode(given or "")
    Redactor(secret)  # refuses one that is too short now, not after the sweep
    return Redaction(how, secret, tuple(arguments.template))


def _read(place: Path) -> bytes:
    try:
        return place.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read --redact-key-file {place}: {error.strerror}") from None
