"""Run the hourly audit on the scripted fleet: the real play with its rules, history and notices, without a sweep."""

from __future__ import annotations

import io
import re
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from fleettrace.app.history import store_run
from fleettrace.app.options import RunOptions, identity
from fleettrace.app.play.options import PlayOptions
from fleettrace.app.play.run import run_play
from fleettrace.app.play.setup import PreparedPlay, prepare
from fleettrace.app.redaction import Redaction
from fleettrace.playbook.findings import Findings
from fleettrace.playbook.notify import send
from fleettrace.playbook.notify.interface import Notice, NotifyTarget
from fleettrace.summary.run import RunInfo, RunResult
from fleettrace.sweep.events import Subscriber, ignore
from tests.month.conditions import START, Conditions, swept
from tests.month.events import Event, conditions_at
from tests.playbook.reading import plays

__all__ = ["Audit", "Outcome"]

_PLAYBOOK = """\
- name: fleet
  hosts: all
  sweep: {duration: 10s, quiet: true}
  keep: all
  rules:
    - {when: "key.share > 25%", severity: high}
    - {when: "host.load > 3 x mean", severity: high}
    - {when: "fleet.rate fallen 3x since baseline", severity: high}
    - {when: new key in top 10, severity: medium}
    - {when: "coverage < 95%", severity: low}
    - {when: changed since baseline, severity: low}
"""

_FULL_BYTES = 8192
"""The largest file on a full disk: less than the history's log needs for a run."""

Write = Callable[[RunResult, Sequence[re.Pattern[bytes]]], None]


@dataclass(frozen=True)
class Outcome:
    """One hour's audit."""

    hour: int
    code: int
    lines: tuple[str, ...]
    """Findings as `SEVERITY, CERTAINTY: MESSAGE`, warnings as `warning: MESSAGE`, and why the audit failed as
    `exit code N: MESSAGE`."""
    events: tuple[Event, ...]


class Audit:
    """The schedule on one controller."""

    def __init__(
        self,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        seed: int,
        *,
        playbook: str = _PLAYBOOK,
        store: Path | None = None,
    ) -> None:
        self.directory, self.seed, self._playbook = directory, seed, playbook
        self._store = store or directory / "history.db"
        self._conditions, self._hour = Conditions(), 0
        self._findings = Findings()
        self._problems: tuple[str, ...] = ()
        monkeypatch.setattr("fleettrace.app.play.run.trace", self._trace)
        monkeypatch.setattr("fleettrace.app.play.run.notify", self._notify)

    def run(self, hour: int) -> Outcome:
        """Run the audit of an hour."""
        self._conditions, events = conditions_at(hour)
        self._hour, self._findings = hour, Findings()
        warnings: list[str] = []
        play = self._play()
        with self._storage():
            code = run_play(play, ignore, warnings.append)
        lines = (
            *self._findings.lines(),
            *(f"warning: {line}" for line in warnings),
            *(f"exit code {code}: {line}" for line in self._problems),
        )
        return Outcome(hour, code, lines, tuple(events))

    def _play(self) -> PreparedPlay:
        text = self._playbook
        for old, new in self._conditions.playbook.items():
            assert old in text
            text = text.replace(old, new)
        inventory = self.directory / self._conditions.inventory
        names = "".join(f"    {name}:\n" for name in self._conditions.host_names.values())
        inventory.write_text(f"all:\n  hosts:\n{names}")
        options = PlayOptions(files=("playbook.yaml",), inventory=(str(inventory),), store=str(self._store))
        [play] = prepare(plays(self.directory, text), options)
        return play

    def _trace(
        self,
        options: RunOptions,
        redact: Redaction,
        write: Write,
        *,
        subscriber: Subscriber,  # noqa: ARG002 - the sweep publishes events to it
        warn: Callable[[str], None],
        not_stored: Callable[[str], None],
    ) -> RunResult:
        """Stand for the sweep: fleettrace.app.runner.trace."""
        now = START + timedelta(hours=self._hour) + self._conditions.clock
        info = RunInfo(
            f"run-{self._hour}",
            now,
            options.hosts,
            options.duration,
            "0.1.0",
            1.0,
            now + timedelta(seconds=options.duration),
            identity(options),
        )
        seen, patterns = redact.apply(swept(self._conditions, self._hour, self.seed, info))
        try:
            write(seen, patterns)
        finally:
            store_run(options, seen, patterns, redact, warn, not_stored)
        return seen

    def _notify(
        self,
        targets: Sequence[NotifyTarget],
        notice: Notice,
        state: Path,
        warn: Callable[[str], None],
        spare: Path | None,
    ) -> None:
        """Read what the targets get, and send it."""
        self._findings, self._problems = notice.findings, notice.problems
        send.notify(targets, notice, state, warn, spare)

    @contextmanager
    def _storage(self) -> Iterator[None]:
        """Let the storage fail as the conditions say."""
        if self._conditions.store == "garbage":
            aside = self._store.with_suffix(".aside")
            self._store.rename(aside)
            self._store.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
            yield
            for name in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{self._store}{name}").unlink()
            aside.rename(self._store)
        elif self._conditions.store == "full":
            old = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (_FULL_BYTES, old[1]))
            try:
                # The limit would hold for the file that pytest captures stdout in.
                with redirect_stdout(io.TextIOWrapper(io.BytesIO())):
                    yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, old)
        else:
            yield
