"""`fleettrace demo`: trace a fleet of seven hosts made on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from fleettrace.app.options import RunOptions
from fleettrace.app.output import report_writer
from fleettrace.app.redaction import redaction
from fleettrace.app.runner import run
from fleettrace.lab.demo import Demo, demo_lab
from fleettrace.summary.run import RunResult
from fleettrace.sweep.events import Event, HostProgressed, Phase, Subscriber, broadcast

__all__ = ["trace_demo"]

_LATE_AT = 0.68
"""The part of the window after which the late key appears, so that it shows in the last third."""


def trace_demo(options: RunOptions, *, subscriber: Subscriber, warn: Callable[[str], None]) -> RunResult:
    """Make the fleet, trace it under traffic, write the report, and remove the fleet. Raises `FleettraceError`."""
    redact, writer = redaction(options), report_writer(options)
    inform = (lambda _message: None) if options.quiet else warn
    inform("demo: setting up seven hosts (network namespaces, each with sshd and memcached), and traffic")
    # The traffic outlasts the window and its preparations.
    with demo_lab(seconds=options.duration + 60) as demo:
        inventory = str(demo.lab.inventory)
        fleet = replace(
            options, inventory=(inventory,), ssh_config=str(demo.lab.ssh_config), hosts="cache-*", no_store=True
        )
        inform(f"demo: fleettrace run -i {inventory} --hosts 'cache-*' --duration {options.duration:g}s")
        with _late(demo, options.duration) as late:
            result = run(fleet, write=writer.write, subscriber=broadcast(subscriber, late), warn=warn, redact=redact)
        demo.stop()
    inform("demo: the fleet is gone again; of its seven hosts one was down on purpose")
    return result


@contextmanager
def _late(demo: Demo, window_s: float) -> Iterator[Subscriber]:
    """Yield a subscriber that starts the late key's traffic when two thirds of the first window are over."""
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
