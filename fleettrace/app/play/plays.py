"""`fleettrace play`: load playbooks, select plays, run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fleettrace.app.options import RunOptions
from fleettrace.app.play.options import INVENTORY_PREFIXES, PlayOptions, play_schema
from fleettrace.app.play.run import check_play, run_play
from fleettrace.app.play.setup import PreparedPlay, prepare
from fleettrace.app.play.targets import check_targets
from fleettrace.app.targets import select_hosts
from fleettrace.errors import BusyError, ConfigError, FleettraceError
from fleettrace.playbook.load import Loaded, load_playbooks
from fleettrace.playbook.model import Play, chosen
from fleettrace.playbook.problems import PlaybookError, meant
from fleettrace.playbook.schema import schema
from fleettrace.playbook.variables import NAME
from fleettrace.report.escape import escape_text
from fleettrace.resources import resource_dir
from fleettrace.sweep.events import Subscriber
from fleettrace.text_format import plural
from fleettrace.yaml_reader.tree import MAX_BYTES, Location, Node, NodeKind, read_tree, text_node

__all__ = [
    "PlaybookError",
    "extra_variables",
    "find_playbook",
    "list_hosts",
    "load_plays",
    "playbook_schema",
    "problem_lines",
    "run_plays",
    "worst",
]


_TRUTHS = ("true", "false", "yes", "no", "on", "off")


@dataclass(slots=True)
class Given:
    """What `-e` gave."""

    nodes: dict[str, Node] = field(default_factory=dict)
    by_name: list[str] = field(default_factory=list)
    """Those that were named one by one: a file may serve several playbooks, and have what one of them does not use."""


def extra_variables(words: Sequence[str]) -> Given:
    """The variables of `name=value`, `@FILE` and `{...}`, the last of a name wins. Raises `ConfigError`."""
    given = Given()
    for word in words:
        if word.startswith("@"):
            given.nodes |= _mapping(_read(Path(word[1:])), word[1:])
        elif word.lstrip().startswith("{"):
            given.nodes |= _mapping(word, "-e")
        else:
            name, equals, value = word.partition("=")
            if not equals or not NAME.fullmatch(name):
                raise ConfigError(f"-e {word!r}: expected NAME=VALUE, @FILE, or a mapping in braces")
            given.nodes[name] = _value(value, name)
            given.by_name.append(name)
    return given


def _value(text: str, name: str) -> Node:
    """A text as it is; `true` and its like can turn a switch."""
    node = replace(text_node(text, Location(f"-e {name}", 1, 1)), is_literal=True)
    return replace(node, kind=NodeKind.BOOLEAN) if text.lower() in _TRUTHS else node


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"-e @{path}: cannot read it: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"-e @{path}: expected UTF-8") from None


def _mapping(text: str, file: str) -> dict[str, Node]:
    tree = read_tree(text, file)
    if tree.kind is not NodeKind.MAPPING:
        raise ConfigError(f"here is {tree.kind}; expected a mapping of names to values", file=file, line=1)
    for key, _ in tree.entries:
        if not NAME.fullmatch(key.text):
            raise ConfigError(f"{key.text!r} is not a variable name", file=file, line=key.location.line)
    return {key.text: value for key, value in tree.entries}


_FROM_GOOD_TO_BAD = (0, 1, 3, 5, 75, 4, 2, 143, 130)

"""Failed hosts are worse than findings: those hosts could have had any finding."""

_STOPPED = (130, 143)


def load_plays(options: PlayOptions) -> list[PreparedPlay]:
    """Return the selected plays of the playbooks, checked; none with `--syntax-check`.

    Raises `PlaybookError` with all problems of the playbooks, and `ConfigError`.
    """
    if not options.files:
        raise ConfigError(f"play: expected a playbook's file, or one that ships: {', '.join(_shipped())}")
    files = [find_playbook(name) for name in options.files]
    given = extra_variables(options.extra_vars)
    loaded = load_playbooks(files, play_schema(), given.nodes)
    for name in given.by_name:
        if name not in loaded.names and not name.startswith(INVENTORY_PREFIXES):
            raise ConfigError(f"-e {name}: no play has a variable of that name{meant(name, loaded.names)}")
    plays = _selected(loaded, options)
    if options.syntax_check or options.check:
        check_targets(plays, options.store)
    return [] if options.syntax_check else prepare(plays, options)


def run_plays(
    plays: Iterable[PreparedPlay],
    *,
    check: bool = False,
    subscriber: Callable[[RunOptions], Subscriber],
    warn: Callable[[str], None],
) -> int:
    """Run the plays one after the other, or check them; return the worst exit code.

    An error of one play does not keep the others from running; an interruption does.
    """
    codes: list[int] = []
    for play in plays:
        if not play.options.quiet:
            warn(f"play {play.play.title}")
        act = check_play if check else run_play
        try:
            codes.append(act(play, subscriber(play.options), warn))
        except FleettraceError as error:
            if not (isinstance(error, BusyError) and error.silent):
                warn(f"{play.play.title}: {error}")
            codes.append(75 if isinstance(error, BusyError) else 2 if isinstance(error, ConfigError) else 4)
        if codes[-1] in _STOPPED:
            break
    return worst(codes)


def list_hosts(plays: Iterable[PreparedPlay]) -> Iterator[str]:
    """Yield the lines of `--list-hosts`: each play, and its hosts."""
    for play in plays:
        hosts = select_hosts(play.options).hosts
        tags = f"; tags: {', '.join(sorted(play.play.tags))}" if play.play.tags else ""
        yield escape_text(f"{play.play.title} ({play.play.hosts}): {plural(len(hosts), 'host')}{tags}")
        yield from (escape_text(f"  {host.name}") for host in hosts)


def problem_lines(error: PlaybookError) -> Iterator[str]:
    """Yield a line for each problem of the playbooks, harmless on any terminal, and their number."""
    yield from (escape_text(str(problem)) for problem in error.problems)
    yield f"fleettrace: {plural(len(error.problems), 'problem')}; nothing was run"


def playbook_schema() -> dict[str, Any]:
    """Return the JSON Schema of playbooks."""
    return schema(play_schema())


def worst(codes: Iterable[int]) -> int:
    """Return the exit code of several plays together."""
    return max(codes, key=_FROM_GOOD_TO_BAD.index, default=0)


def find_playbook(name: str) -> Path:
    """Return the path of a playbook: a file, or one that ships. Raises `ConfigError`."""
    path = Path(name)
    if path.is_file() or "/" in name:
        return path
    shipped = resource_dir("playbooks")
    for candidate in (shipped / name, shipped / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    known = _shipped()
    raise ConfigError(
        f"no playbook {name!r}: expected a file, or one that ships: {', '.join(known)}"
        f"{meant(name.removesuffix('.yaml'), known)}"
    )


def _shipped() -> list[str]:
    """Return the names of the playbooks that ship with fleettrace."""
    return sorted(path.stem for path in resource_dir("playbooks").glob("*.yaml"))


def _selected(loaded: Loaded, options: PlayOptions) -> list[Play]:
    """Return the plays that the tags select. Raises `ConfigError` where they select none."""
    tags, skipped = (_words(text) for text in (options.tags, options.skip_tags))
    known = {tag for play in loaded.plays for tag in play.tags}
    for tag in (*tags, *skipped):
        if tag not in known | {"all", "always", "never"}:
            has = f"; expected one of {', '.join(sorted(known))}" if known else ": no play here has any"
            raise ConfigError(f"no play has the tag {tag!r}{meant(tag, known) or has}")
    plays = [play for play in loaded.plays if chosen(play, tags, skipped)]
    if not plays:
        raise ConfigError("--tags and --skip-tags select no play")
    return plays


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]
