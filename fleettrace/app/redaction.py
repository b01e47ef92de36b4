"""`--redact`: replaces keys by pseudonyms. Their secret comes from a file or a variable, never from an argument."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace.app.options import ReportOptions
from fleettrace.errors import ConfigError
from fleettrace.report.redact import Redact, Redactor, redact, redacted_patterns
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult

if TYPE_CHECKING:
    from fleettrace.report.templates import Templates

__all__ = ["VARIABLE", "Redaction", "redaction"]

VARIABLE = "FLEETTRACE_REDACT_KEY"


@dataclass(frozen=True, slots=True)
class Redaction:
    """How the keys of a run are replaced before they are stored or shown."""

    how: Redact | None = None
    """None: keys stay as they are."""
    secret: bytes = field(default=b"", repr=False)
    patterns: tuple[re.Pattern[bytes], ...] = ()
    """The user's families (`--template`), matched against the real keys."""

    @property
    def shows_names(self) -> bool:
        """Whether anything of the keys' names is shown."""
        return self.how is not Redact.DROP

    @property
    def rename(self) -> Callable[[Key], Key] | None:
        """Return the function that replaces a whole key, if keys are replaced.

        With `--redact=template` too: the constant parts of a family are not known before the sweep has ended.
        """
        return None if self.how in (None, Redact.DROP) else Redactor(self.secret).key

    def learn(self, counts: dict[bytes, int]) -> Templates:
        """Return the families of the keys, the user's own first."""
        from fleettrace.report.templates import Templates

        return Templates.learn(counts, self.patterns)

    def apply(self, run: RunResult) -> tuple[RunResult, tuple[re.Pattern[bytes], ...]]:
        """Return the redacted run, and the user's families that match its keys."""
        if self.how is None:
            return run, self.patterns
        return redact(run, self.how, self.secret, self.patterns), redacted_patterns(run, self.patterns)


def redaction(options: ReportOptions, environ: MutableMapping[str, str] = os.environ) -> Redaction:
    """Return the redaction that the options request. Raises `ConfigError`.

    Removes the secret from `environ`: no child process inherits it.
    """
    given = environ.pop(VARIABLE, None)
    path = options.redact_key_file
    if options.redact is None:
        if path is not None:
            raise ConfigError("--redact-key-file without --redact: keys would be shown as they are; add --redact")
        return Redaction(patterns=options.template)
    how = Redact(options.redact)
    if how is not Redact.TEMPLATE and options.template:
        raise ConfigError(f"--template with --redact={how}: pseudonyms form no families; use --redact=template")
    if how is Redact.DROP:
        return Redaction(how)
    if path is None and given is None:
        raise ConfigError(
            f"--redact={how} needs a secret: name its file with --redact-key-file, or put it into {VARIABLE} "
            "(`openssl rand -hex 32` makes one)"
        )
    secret = _read(Path(path)) if path is not None else os.fsencode(given or "")
    Redactor(secret)  # Refuses a short secret now, not after the sweep.
    return Redaction(how, secret, options.template)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read --redact-key-file {path}: {error.strerror}") from None
