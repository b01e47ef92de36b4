"""`--save FILE`: writes the run file as hosts finish. A failure costs neither the sweep nor its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from fleettrace.app.options import RunOptions
from fleettrace.app.output import check_writable
from fleettrace.app.redaction import Redaction
from fleettrace.errors import ConfigError
from fleettrace.report.redact import Redact, Redactor
from fleettrace.store.runfile.writer import RunFileWriter
from fleettrace.summary.counts import Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult, Warn
from fleettrace.sweep.events import Event, HostFinished, RunStarted

__all__ = ["RunFileSaver", "run_file_saver"]


def run_file_saver(options: RunOptions, redaction: Redaction) -> RunFileSaver | None:
    """Return the saver that `--save` requests, if it is given. Raises `ConfigError`."""
    if options.save is None:
        return None
    check_writable(options.save)
    if redaction.how is Redact.TEMPLATE:
        raise ConfigError(
            "--save with --redact=template: the file is written before the families are known; use --redact=hash, or "
            "redact when reporting from it"
        )
    return RunFileSaver(Path(options.save), redaction)


class RunFileSaver:
    """Subscribes to a sweep and writes its run file; a file that is not finished is removed."""

    def __init__(self, path: Path, redaction: Redaction) -> None:
        self._writer = RunFileWriter(path)
        self._redaction = redaction
        self._redactor = Redactor(redaction.secret) if redaction.how is Redact.HASH else None
        self._run = ""
        self._order: dict[str, int] = {}
        self._written_warnings: set[Warn] = set()
        self._failed: ConfigError | None = None

    def order(self, hosts: Sequence[str]) -> None:
        """Set the order in which reports list the hosts."""
        self._order = {host: number for number, host in enumerate(hosts)}

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
        """Write what is known only at the end. Raises the `ConfigError` that ended the writing, even long before."""
        if self._failed is not None:
            raise self._failed
        self._writer.finish([result.info], [warn for warn in result.warnings if warn not in self._written_warnings])

    def _add(self, event: HostFinished) -> None:
        self._written_warnings.update(event.warnings)
        host, summaries = event.result, dict(event.summaries)
        if self._redaction.how is Redact.DROP:
            summaries = {name: _nameless(summary) for name, summary in summaries.items()}
            host = replace(host, top=[], instances=[replace(each, absent=None) for each in host.instances])
        elif self._redactor is not None:
            rename = self._redactor.key
            summaries = {name: _renamed(summary, rename) for name, summary in summaries.items()}
            host = replace(host, top=[(rename(key), requests) for key, requests in host.top])
        self._writer.add(self._run, host, summaries, event.warnings, self._order.get(event.host, 0))

    def __enter__(self) -> RunFileSaver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.discard()


def _nameless(summary: Summary) -> Summary:
    """Return the summary without its keys: `absent` bounds all of them."""
    most = max((summary.upper(key) for key in summary.keys), default=0)
    return Summary(summary.total, max(summary.absent, most), {}, list(summary.timeline))


def _renamed(summary: Summary, rename: Callable[[Key], Key]) -> Summary:
    """Return the summary with other names. Of two keys that get one name, each may have had what the other hides."""
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
