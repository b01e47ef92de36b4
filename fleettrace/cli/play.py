"""`fleettrace play`: run playbooks, each play a run of its own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fleettrace.cli.fleet import selected
from fleettrace.cli.play_flags import play_layout
from fleettrace.cli.play_run import check_play, run_play
from fleettrace.cli.play_setup import Prepared, prepared
from fleettrace.cli.play_variables import extra_variables
from fleettrace.errors import BusyError, ConfigError, FleettraceError
from fleettrace.playbook.load import Loaded, load_playbooks
from fleettrace.playbook.model import Play, chosen
from fleettrace.playbook.problems import PlaybookError, meant
from fleettrace.playbook.schema import schema
from fleettrace.report.escape import escape_text
from fleettrace.resources import resource_dir
from fleettrace.text_format import plural

__all__ = ["command", "find_playbook", "worst"]

_FROM_GOOD_TO_BAD = (0, 1, 3, 5, 75, 4, 2, 143, 130)
"""Findings say less than hosts that failed: nobody knows what would have been found there."""
_STOPPED = (130, 143)


def command(arguments: argparse.Namespace) -> int:
    """Run it; gives the exit code."""
    if arguments.schema:
        print(json.dumps(schema(play_layout()), indent=2))
        return 0
    if not arguments.files:
        raise ConfigError(f"play: expected a playbook's file, or one that ships: {', '.join(_shipped())}")
    try:
        return _play(arguments)
    except PlaybookError as error:
        for problem in error.problems:
            print(escape_text(str(problem)), file=sys.stderr)
        number = len(error.problems)
        print(f"fleettrace: {number} problem{'s' * (number > 1)}; nothing was run", file=sys.stderr)
        return 2


def _play(arguments: argparse.Namespace) -> int:
    files = [find_playbook(name) for name in arguments.files]
    given = extra_variables(arguments.extra_vars)
    loaded = load_playbooks(files, play_layout(), given.nodes)
    for name in given.by_name:
        if name not in loaded.names:
            raise ConfigError(f"-e {name}: no play has a variable of that name{meant(name, loaded.names)}")
    plays = _wanted(loaded, arguments)
    if arguments.syntax_check:
        return 0
    ready = prepared(plays, arguments)
    if arguments.list_hosts:
        return _list_hosts(ready)
    act = check_play if arguments.check else run_play
    codes: list[int] = []
    for each in ready:
        if not each.arguments.quiet:
            print(f"fleettrace: play {escape_text(each.play.title)}", file=sys.stderr, flush=True)
        codes.append(_guarded(act, each))
        if codes[-1] in _STOPPED:
            break
    return worst(codes)


def _guarded(act: Callable[[Prepared], int], each: Prepared) -> int:
    """What keeps one play from running does not keep the others."""
    try:
        return act(each)
    except FleettraceError as error:
        print(f"fleettrace: {escape_text(each.play.title)}: {error}", file=sys.stderr)
        return 75 if isinstance(error, BusyError) else 2 if isinstance(error, ConfigError) else 4


def worst(codes: Iterable[int]) -> int:
    """The exit code of all plays together."""
    return max(codes, key=_FROM_GOOD_TO_BAD.index, default=0)


def find_playbook(name: str) -> Path:
    """The file that is meant: one of that name, or one that ships. Raises `ConfigError`."""
    path = Path(name)
    if path.is_file() or "/" in name:
        return path
    shipped = resource_dir("playbooks")
    for place in (shipped / name, shipped / f"{name}.yaml"):
        if place.is_file():
            return place
    known = _shipped()
    raise ConfigError(
        f"no playbook {name!r}: expected a file, or one that ships: {', '.join(known)}"
        f"{meant(name.removesuffix('.yaml'), known)}"
    )


def _shipped() -> list[str]:
    return sorted(path.stem for path in resource_dir("playbooks").glob("*.yaml"))


def _wanted(loaded: Loaded, arguments: argparse.Namespace) -> list[Play]:
    """The plays that the tags leave. Raises `ConfigError` where there is none."""
    tags, skipped = (_words(text) for text in (arguments.tags, arguments.skip_tags))
    known = {tag for play in loaded.plays for tag in play.tags}
    for tag in (*tags, *skipped):
        if tag not in known | {"all", "always", "never"}:
            has = f"; expected one of {', '.join(sorted(known))}" if known else ": no play here has any"
            raise ConfigError(f"no play has the tag {tag!r}{meant(tag, known) or has}")
    plays = [play for play in loaded.plays if chosen(play, tags, skipped)]
    if not plays:
        raise ConfigError("--tags and --skip-tags leave no play to run")
    return plays


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _list_hosts(ready: Sequence[Prepared]) -> int:
    for each in ready:
        hosts = selected(each.arguments).hosts
        tags = f"; tags: {', '.join(sorted(each.play.tags))}" if each.play.tags else ""
        print(escape_text(f"{each.play.title} ({each.play.hosts}): {plural(len(hosts), 'host')}{tags}"))
        for host in hosts:
            print(escape_text(f"  {host.name}"))
    return 0
