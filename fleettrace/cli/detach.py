"""`--detach`: how traces are left, what that cannot be asked for together with, and how `--resume` finds them again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fleettrace import __version__
from fleettrace.cli.wishes import run_options
from fleettrace.errors import ConfigError
from fleettrace.summary.run import RunInfo
from fleettrace.sweep.detach_file import DetachedRun, DetachedRunFile, read_detached_run
from fleettrace.sweep.detach_model import Detach
from fleettrace.sweep.detached import lead_s
from fleettrace.sweep.events import Event, RunStarted, Subscriber, ignore

__all__ = ["SUFFIX", "detached", "left_run"]

SUFFIX = ".left"
"""What the file beside the run file, which says where traces were left, has more in its name."""


def left_run(run: str) -> DetachedRun | None:
    """The traces of a run that nobody has collected, if any were left. Raises `ConfigError`."""
    path = Path(run + SUFFIX)
    return read_detached_run(path) if path.exists() else None


@contextmanager
def detached(arguments: argparse.Namespace, hosts: Sequence[str]) -> Iterator[tuple[Detach | None, Subscriber]]:
    """How traces are to be left, if they are, and a listener for the sweep. While the block runs, what is left and
    collected is written down beside the run file, if there is to be one. Raises `ConfigError`."""
    resumed: str | None = getattr(arguments, "resume", None)
    left = None if resumed is None else left_run(resumed)
    if left is None and not getattr(arguments, "detach", False):
        yield None, ignore
        return
    if left is None:
        _check(arguments, len(hosts))
    ttl: float = arguments.detach_ttl
    if left is None and arguments.save is None:
        yield Detach(ttl), ignore
        return
    file = DetachedRunFile(Path(f"{resumed if left is not None else arguments.save}{SUFFIX}"), left)

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted) and left is None:
            now, options = datetime.now(UTC), run_options(arguments)
            info = RunInfo(event.run, now, arguments.hosts, arguments.duration, __version__, options=options)
            file.write_run(info, hosts)

    try:
        yield Detach(ttl, None if left is None else left.pending, True, file.write_left, file.write_collected), listen
    finally:
        file.close()
        if file.failed is not None:
            print(f"fleettrace: --resume will not find all that was left: {file.failed}", file=sys.stderr)


def _check(arguments: argparse.Namespace, hosts: int) -> None:
    if arguments.serial:
        raise ConfigError("--detach with --serial: waves have a window each, and --detach gives all hosts the same one")
    if arguments.probe == "watch":
        raise ConfigError("--detach with --probe watch: only bpftrace can be left on a host")
    needed = lead_s(hosts) + arguments.duration
    if arguments.deadline is not None and arguments.deadline < needed:
        raise ConfigError(
            f"--detach begins the window of {hosts:,} hosts {lead_s(hosts):.0f} s after the run: with --duration "
            f"{arguments.duration:g}s give it more than --deadline {arguments.deadline:g}s"
        )
