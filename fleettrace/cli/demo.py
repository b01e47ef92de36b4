"""`fleettrace demo`: a fleet on this machine, traced for real, ending in its report."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fleettrace.cli.output import report_writer
from fleettrace.cli.redaction import redaction
from fleettrace.lab.demo import Demo, demo_lab
from fleettrace.sweep.events import Event, HostProgressed, Phase, Subscriber

__all__ = ["command"]

_LATE_AT = 0.68
"""Part of the window that is over when the late key appears: the last third, and a moment for its traffic to begin."""


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code: 0 when the demo went as it should, its host that is down included."""
    from fleettrace.cli import run

    hidden, wanted = redaction(arguments), report_writer(arguments)
    _say(arguments, "setting up seven hosts (network namespaces, each with sshd and memcached), and traffic")
    # The traffic outlasts the window and its preparations.
    with demo_lab(seconds=arguments.duration + 60) as demo:
        arguments.inventory = str(demo.lab.inventory)
        arguments.ssh_config = str(demo.lab.ssh_config)
        arguments.hosts, arguments.limit, arguments.shard = "cache-*", None, None
        _say(arguments, f"fleettrace run -i {arguments.inventory} --hosts 'cache-*' --duration {arguments.duration:g}s")
        with _late(demo, arguments.duration) as listener:
            code = run.trace(arguments, hidden, wanted.write, listener)
        demo.stop()
    _say(arguments, "the fleet is gone again; of its seven hosts one was down on purpose")
    return 0 if code == 3 else code


@contextmanager
def _late(demo: Demo, window_s: float) -> Iterator[Subscriber]:
    """A listener that lets the late key appear when two thirds of the window are over on the first host traced."""
    late = threading.Timer(window_s * _LATE_AT, demo.begin_late)

    def listen(event: Event) -> None:
        if isinstance(event, HostProgressed) and event.phase is Phase.TRACE and late.ident is None:
            late.start()

    try:
        yield listen
    finally:
        late.cancel()
        if late.ident is not None:
            late.join()


def _say(arguments: argparse.Namespace, words: str) -> None:
    if not arguments.quiet:
        print(f"fleettrace demo: {words}", file=sys.stderr, flush=True)
