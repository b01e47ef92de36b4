"""A running `fleettrace exporter`, and what it serves."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from fleettrace.lab.system import wait_until
from tests.e2e.command import Command, Done
from tests.e2e.local import ADDRESS, free_port

__all__ = ["Exporter", "Samples", "ServedMetrics", "exporting"]

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Values by name, without `fleettrace_`, and labels."""


class ServedMetrics:
    """What an exporter on this machine serves."""

    def __init__(self, port: int) -> None:
        self.port = port

    def text(self) -> str:
        """Return the served metrics."""
        with urlopen(f"http://{ADDRESS}:{self.port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def samples(self) -> Samples:
        """Return the served metrics, parsed."""
        return {
            (sample.name.removeprefix("fleettrace_"), tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series, None where it is not served."""
        return self.samples().get((name, tuple(sorted(labels.items()))))

    def wait(self, ready: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        """Wait until `ready` returns something true; a server that does not listen yet counts as false."""

        def asked() -> bool:
            try:
                return bool(ready())
            except (URLError, ConnectionError):
                return False

        wait_until(asked, what, seconds=seconds, pause=0.05)

    def swept(self, outcome: str) -> int:
        """Return the number of sweeps that ended so."""
        return int(self.value("exporter_sweeps_total", outcome=outcome) or 0)

    def wait_for_sweep(self, outcome: str, number: int = 1) -> None:
        """Wait until so many sweeps have ended so."""
        self.wait(lambda: self.swept(outcome) >= number, f"no {number} sweeps are {outcome}")


class Exporter(ServedMetrics):
    """A running exporter on a free port."""

    def __init__(self, command: Command, port: int) -> None:
        super().__init__(port)
        self.command = command

    def sweep_again(self, outcome: str) -> None:
        """Request a sweep by SIGHUP, and wait until it has ended so."""
        before = self.swept(outcome)
        self.command.signal(signal.SIGHUP)
        self.wait_for_sweep(outcome, before + 1)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[Done, float]:
        """Send a signal, and return the end of the exporter and the seconds until then."""
        begun = time.monotonic()
        self.command.signal(number)
        done = self.command.finish(seconds=30)
        return done, time.monotonic() - begun


@contextmanager
def exporting(options: Sequence[str], variables: Mapping[str, str] | None = None) -> Iterator[Exporter]:
    """Run an exporter with these options while the block runs."""
    port = free_port()
    arguments = ["exporter", "--listen", f"{ADDRESS}:{port}", *options]
    with Command(arguments, variables=variables) as command:
        yield Exporter(command, port)
