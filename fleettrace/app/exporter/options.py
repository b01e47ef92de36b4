"""The options of `fleettrace exporter`, and which of them conflict."""

from __future__ import annotations

from dataclasses import dataclass

from fleettrace.app.options import RunOptions
from fleettrace.errors import ConfigError

__all__ = ["ExporterOptions", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterOptions(RunOptions):
    """The options of `fleettrace exporter`, without their dashes."""

    duration: float = 5.0
    interval: float = 300.0
    """Seconds from the start of one sweep to the start of the next one."""
    listen: tuple[str, int] = ("127.0.0.1", 9497)
    """IP address and TCP port; port 0 is a free one."""


def check(options: ExporterOptions) -> None:
    """Raise `ConfigError` for options that cannot be met at every interval."""
    if options.interval <= options.duration:
        raise ConfigError(
            f"--interval {options.interval:g}s is not longer than the window of {options.duration:g} s: "
            "increase --interval, or shorten --duration"
        )
    if "-" in options.inventory:
        raise ConfigError(
            "the inventory `-` can be read only once, but the exporter reads it before each sweep: name a file, a "
            "directory or a program with -i"
        )
