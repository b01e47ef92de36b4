"""`--save FILE`: the run file grows as hosts finish. What goes wrong with it costs neither the sweep nor its report."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from fleettrace.cli.output import check_writable
from fleettrace.cli.redaction import Redaction
from fleettrace.errors import ConfigError
from fleettrace.report.redact import Redact, Redactor
from fleettrace.store.runfile.writer import RunFileWriter
from fleettrace.summary.counts import Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult, Warn
from fleettrace.sweep.events import Event, HostFinished, RunStarted

__all__ = ["Saver", "saver"]


def saver(arguments: argparse.Namespace, redaction: Redaction) -> Saver | None:
    """What `--save` asks for, if it does. Raises `ConfigError` for what cannot be."""
    place: str | None = getattr(arguments, "save", None)
    if place is None:
        return None
    check_writable(place)
    if redaction.how is Redact.TEMPLATE:
        raise ConfigError(
            "--save with --redact=template: families are known only when all hosts are done, and the file is written "
            "before; use --redact=hash, or redact when reporting from it"
        )
    return Saver(Path(place), redaction)


class Saver:
    """Listens to a sweep and writes its run file. `finish` puts it in its place; without, nothing is left of it."""

    def __init__(self, path: Path, redaction: Redaction) -> None:
        self._writer = RunFileWriter(path)
        self._redaction = redaction
        self._redactor = Redactor(redaction.secret) if redaction.how is Redact.HASH else None
        self._run = ""
        self._places: dict[str, int] = {}
        self._told: set[Warn] = set()
        self._failed: ConfigError | None = None

    def order(self, hosts: Sequence[str]) -> None:
        """The order in which reports name the hosts."""
        self._places = {host: place for place, host in enumerate(hosts)}

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted(run):
                self._run = run
            case HostFinished() if self._failed is None:
                try:
                    self._add(event)
                except ConfigError as error:
                    self._failed = error
                    self._writer.discard()

    def finish(self, result: RunResult) -> None:
        """Write what is known at the end only. Raises the `ConfigError` that ended the writing, even long ago."""
        if self._failed is not None:
            raise self._failed
        self._writer.finish([result.info], [warn for warn in result.warnings if warn not in self._told])

    def _add(self, event: HostFinished) -> None:
        self._told.update(event.warnings)
        host, summaries = event.result, dict(event.summaries)
        if self._redaction.how is Redact.DROP:
            summaries = {name: _nameless(summary) for name, summary in summaries.items()}
            host = replace(host, top=[], instances=[replace(each, absent=None) for each in host.instances])
        elif self._redactor is not None:
            rename = self._redactor.key
            summaries = {name: _renamed(summary, rename) for name, summary in summaries.items()}
            host = replace(host, top=[(rename(key), requests) for key, requests in host.top])
        self._writer.add(self._run, host, summaries, event.warnings, self._places.get(event.host, 0))

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.discard()


def _nameless(summary: Summary) -> Summary:
    """The same with no key listed: what any key can have had at most is all that is said of keys."""
    most = max((summary.upper(key) for key in summary.keys), default=0)
    return Summary(summary.total, max(summary.absent, most), {}, list(summary.timeline))


def _renamed(summary: Summary, rename: Callable[[Key], Key]) -> Summary:
    """The same with other names. Where two keys get one name, each can have had what is hidden from it."""
    renamed = Summary(summary.total, summary.absent, {}, list(summary.timeline))
    for key, count in summary.keys.items():
        name = rename(key)
        known = renamed.keys.get(name)
        if known is None:
            renamed.keys[name] = count.copy()
        else:
            known.add(count)
            known.covered -= summary.absent
    return renamed
