"""`--detach`: starts traces that run detached from the controller, and finds them again for `--resume`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fleettrace import __version__
from fleettrace.app.options import RunOptions, identity
from fleettrace.errors import ConfigError
from fleettrace.summary.run import RunInfo
from fleettrace.sweep.events import Event, RunStarted, Subscriber, ignore

if TYPE_CHECKING:
    from fleettrace.sweep.detach_file import DetachedRun
    from fleettrace.sweep.detach_model import Detach

__all__ = ["SUFFIX", "detached", "read_detached"]

SUFFIX = ".left"
"""Suffix of the file beside the run file that lists the detached traces."""


def read_detached(run: str) -> DetachedRun | None:
    """Return the detached traces of a run that are not collected yet, if there are any. Raises `ConfigError`."""
    path = Path(run + SUFFIX)
    if not path.exists():
        return None
    from fleettrace.sweep.detach_file import read_detached_run

    return read_detached_run(path)


@contextmanager
def detached(
    options: RunOptions, hosts: Sequence[str], warn: Callable[[str], None]
) -> Iterator[tuple[Detach | None, Subscriber]]:
    """Yield how to detach the traces (None: not at all), and a subscriber for the sweep.

    While the block runs, a file beside the run file, if there is one, lists the traces that are detached and not
    collected yet. Raises `ConfigError`.
    """
    left = None if options.resume is None else read_detached(options.resume)
    if left is None and not options.detach:
        yield None, ignore
        return
    from fleettrace.sweep.detach_model import Detach

    if left is None:
        _check(options, len(hosts))
    ttl = options.detach_ttl
    if left is None and options.save is None:
        yield Detach(ttl), ignore
        return
    from fleettrace.sweep.detach_file import DetachedRunFile

    file = DetachedRunFile(Path(f"{options.resume if left is not None else options.save}{SUFFIX}"), left)

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted) and left is None:
            now, counted = datetime.now(UTC), identity(options)
            info = RunInfo(event.run, now, options.hosts, options.duration, __version__, options=counted)
            file.write_run(info, hosts)

    try:
        yield Detach(ttl, None if left is None else left.pending, True, file.write_left, file.write_collected), listen
    finally:
        file.close()
        if file.failed is not None:
            warn(f"--resume will not find all detached traces: {file.failed}")


def _check(options: RunOptions, hosts: int) -> None:
    if options.serial:
        raise ConfigError(
            "--detach with --serial: each wave has its own window, and --detach has one for all; leave one out"
        )
    if options.probe == "watch":
        raise ConfigError("--detach with --probe watch: the probe watch needs the controller; leave one out")
    from fleettrace.sweep.detached import lead_s

    needed = lead_s(hosts) + options.duration
    if options.deadline is not None and options.deadline < needed:
        raise ConfigError(
            f"--detach begins the window of {hosts:,} hosts {lead_s(hosts):.0f} s after the run: with --duration "
            f"{options.duration:g}s give it more than --deadline {options.deadline:g}s"
        )
