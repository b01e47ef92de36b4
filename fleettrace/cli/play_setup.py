"""From a play to what `fleettrace run` takes, with everything looked at that can be before anybody is connected to."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fleettrace.cli.fleet import selected
from fleettrace.cli.output import ReportWriter, report_writer
from fleettrace.cli.parser import parse
from fleettrace.cli.play_flags import sweep_words
from fleettrace.cli.redaction import VARIABLE, Redaction, redaction
from fleettrace.cli.wishes import probe_options
from fleettrace.errors import ConfigError
from fleettrace.playbook.findings import Severity
from fleettrace.playbook.model import Play
from fleettrace.playbook.problems import Problems
from fleettrace.yaml_reader.tree import Location

__all__ = ["Prepared", "prepared"]

_OVERRIDES = ("inventory", "limit", "ssh_config", "store")
_SWITCHES = ("no_color", "no_store", "quiet", "verbose")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A play that can begin."""

    play: Play
    arguments: argparse.Namespace
    """As of a `fleettrace run`."""
    hidden: Redaction
    outputs: tuple[ReportWriter, ...]
    fail_on: Severity

    @property
    def on_change(self) -> bool:
        """Whether stdout is told only of what is new: a quiet play with rules."""
        return bool(self.play.rules) and bool(self.arguments.quiet)


def prepared(plays: Sequence[Play], arguments: argparse.Namespace) -> list[Prepared]:
    """The plays, ready to begin. Raises `ConfigError`, with all that is wrong where that is of the playbooks."""
    problems = Problems()
    # Taken out of the environment once, for all plays: no process that is started from here on inherits it.
    secret = os.environ.pop(VARIABLE, None)
    ready = []
    for play in plays:
        problems.opened(play.location.file)
        with _told_at(play.where("sweep"), problems):
            own = _own_arguments(play, arguments)
            probe_options(own)
            hidden = redaction(own, {} if secret is None else {VARIABLE: secret})
            outputs = _outputs(play, own, problems)
            with _told_at(play.where("hosts"), problems):
                selected(own)
            ready.append(Prepared(play, own, hidden, outputs, Severity(arguments.fail_on)))
    problems.check()
    return ready


def _own_arguments(play: Play, arguments: argparse.Namespace) -> argparse.Namespace:
    """The command line that the play stands for: the user's words win over the playbook's, those over variables."""
    words, off = sweep_words(play)
    if play.keep is not None:
        words.append(f"--keep={play.keep}")
    for name in _OVERRIDES:
        if (value := getattr(arguments, name)) is not None:
            words.append(f"--{name.replace('_', '-')}={value}")
    own = parse(["run", *words, f"--hosts={play.hosts}"])
    for name in off:
        setattr(own, name.replace("-", "_"), None if name == "redact" else False)
    for name in _SWITCHES:
        setattr(own, name, getattr(own, name) or getattr(arguments, name))
    own.name = own.name or play.title
    own.playbook = " ".join([play.title, *_part(own)])
    if play.rules and "quiet" not in play.sweep and not own.verbose and not _watched():
        own.quiet = True
    return own


def _part(own: argparse.Namespace) -> list[str]:
    """Runs of a part of the hosts are another timeline in the history: against all of them, the others would be new."""
    return [f"--{name} {value}" for name in ("limit", "shard") if (value := getattr(own, name)) is not None]


def _watched() -> bool:
    """Whether somebody is there to read: an audit that cron runs speaks only when there is something to say."""
    return sys.stdout.isatty() or sys.stderr.isatty()


def _outputs(play: Play, own: argparse.Namespace, problems: Problems) -> tuple[ReportWriter, ...]:
    own.html = None
    if not play.outputs:
        return (report_writer(own),)
    keys = own.prometheus_keys
    if keys and all(output.format != "prometheus" for output in play.outputs):
        raise ConfigError("prometheus-keys without an output of the format prometheus: expected one, or leave it out")
    made = []
    for output in play.outputs:
        one = argparse.Namespace(**vars(own))
        one.output, one.out, one.html = output.format, output.file, None
        one.prometheus_keys = keys and output.format == "prometheus"
        with _told_at(output.location, problems):
            made.append(report_writer(one))
    return tuple(made)


@contextmanager
def _told_at(location: Location, problems: Problems) -> Iterator[None]:
    """What is wrong in the block is told at that place of the playbook, but for errors that have one of their own."""
    try:
        yield
    except ConfigError as error:
        if error.file is not None:
            raise
        problems.add(location, error.message.replace(": expected ", "; expected ", 1))
