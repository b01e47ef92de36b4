"""From a play to the options of its run. Everything that can be checked is checked before a host is connected to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from fleettrace.app.options import RunOptions, probe_options
from fleettrace.app.output import ReportWriter, report_writer
from fleettrace.app.play.options import INVENTORY_PREFIXES, PlayOptions, run_values
from fleettrace.app.redaction import VARIABLE, Redaction, redaction
from fleettrace.app.targets import select_hosts
from fleettrace.errors import ConfigError
from fleettrace.playbook.findings import Severity
from fleettrace.playbook.model import Play
from fleettrace.playbook.problems import Problems
from fleettrace.yaml_reader.tree import Location

__all__ = ["PreparedPlay", "prepare"]

_OWN = frozenset({"files", "extra_vars", "tags", "skip_tags", "fail_on", "check", "list_hosts", "syntax_check"})
_OVERRIDES = tuple(each.name for each in fields(PlayOptions) if each.name not in _OWN)
"""The options of a run that the command line of `play` takes, too."""


@dataclass(frozen=True, slots=True)
class PreparedPlay:
    """A play with checked options."""

    play: Play
    options: RunOptions
    redact: Redaction
    outputs: tuple[ReportWriter, ...]
    fail_on: Severity

    @property
    def on_change(self) -> bool:
        """Whether stdout gets only new findings: a quiet play with rules."""
        return bool(self.play.rules) and self.options.quiet


def prepare(plays: Sequence[Play], options: PlayOptions) -> list[PreparedPlay]:
    """Check the plays and return them with their options.

    Raises `PlaybookError` with all problems of the playbooks, and `ConfigError` for those of the command line.
    """
    problems = Problems()
    # Removed from the environment once, for all plays: no child process inherits it.
    secret = os.environ.pop(VARIABLE, None)
    prepared = []
    for play in plays:
        problems.opened(play.location.file)
        with _located(play.where("sweep"), problems):
            own = _run_options(play, options, os.environ)
            probe_options(own)
            redact = redaction(own, {} if secret is None else {VARIABLE: secret})
            outputs = _outputs(play, own, problems)
            with _located(play.where("hosts"), problems):
                select_hosts(own)
            prepared.append(PreparedPlay(play, own, redact, outputs, Severity(options.fail_on)))
    problems.check()
    return prepared


def _run_options(play: Play, options: PlayOptions, environ: Mapping[str, str]) -> RunOptions:
    """The command line takes precedence over the playbook, and the playbook over environment variables."""
    values = run_values(play, environ) | {"hosts": play.hosts}
    values |= {name: value for name in _OVERRIDES if (value := getattr(options, name))}
    values["extra_vars"] = _for_inventory(options.extra_vars)
    values["name"] = values["name"] or play.title
    values["playbook_file"] = play.file
    values["playbook"] = " ".join([play.title, *_part(values)])
    if play.rules and "quiet" not in play.sweep and not values["verbose"] and not _on_terminal():
        values["quiet"] = True
    return RunOptions.of(values)


def _for_inventory(words: Sequence[str]) -> tuple[str, ...]:
    """Return those of `-e` that may hold inventory variables; a single one by its name."""
    return tuple(word for word in words if word.startswith(("@", "{", *INVENTORY_PREFIXES)))


def _part(values: Mapping[str, object]) -> list[str]:
    """Runs on part of the hosts are a separate timeline in the history: compared with all, the others would be new."""
    return [f"--{name} {value}" for name in ("limit", "shard") if (value := values[name]) is not None]


def _on_terminal() -> bool:
    """Whether a user reads the output; an audit that cron runs prints only what is new."""
    return sys.stdout.isatty() or sys.stderr.isatty()


def _outputs(play: Play, own: RunOptions, problems: Problems) -> tuple[ReportWriter, ...]:
    own = replace(own, html=None)
    if not play.outputs:
        return (report_writer(own),)
    keys = own.prometheus_keys
    if keys and all(output.format != "prometheus" for output in play.outputs):
        raise ConfigError("prometheus-keys without an output of the format prometheus: expected one, or leave it out")
    writers = []
    for output in play.outputs:
        with_keys = keys and output.format == "prometheus"
        with _located(output.location, problems):
            writers.append(
                report_writer(replace(own, output=output.format, out=output.file, prometheus_keys=with_keys))
            )
    return tuple(writers)


@contextmanager
def _located(location: Location, problems: Problems) -> Iterator[None]:
    """Report an error of the block at this location of the playbook, unless the error names a file of its own."""
    try:
        yield
    except ConfigError as error:
        if error.file is not None:
            raise
        problems.add(location, error.message)
