"""How each host of a run is reached, as `plan` and the progress of a run show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleettrace.app.targets import Transports
from fleettrace.app.unsupported import UnsupportedTransport
from fleettrace.errors import ConfigError
from fleettrace.report.host_folding import fold
from fleettrace.summary.run import Warn
from fleettrace.sweep.settings import HostTask
from fleettrace.transport.fabric.transport import SshTransport
from fleettrace.transport.interface import Become
from fleettrace.transport.local.transport import LocalTransport
from fleettrace.transport.login_options import query_of
from fleettrace.transport.reach import ResolvedLogin, ignored_keywords, resolved_login
from fleettrace.transport.ssh_query import SshQueries

__all__ = ["Reach", "details", "login_warnings", "reach_of", "shared_warnings"]


@dataclass(frozen=True, slots=True)
class Reach:
    """How one host is reached."""

    login: ResolvedLogin
    become: Become | None
    problem: str | None = None
    """Why it is not reached at all."""

    def as_json(self) -> dict[str, object]:
        """Return the host's object in `plan --output json`."""
        login = self.login
        document: dict[str, object] = {
            "host": login.host,
            "address": login.address,
            "port": login.port,
            "user": login.user,
            "jump": login.jump,
            "identity_files": list(login.identity_files),
            "client": login.client,
        }
        return document if self.problem is None else document | {"error": self.problem}

    def line(self) -> str:
        """Return it in words."""
        login = self.login
        if self.problem is not None:
            return f"skipped: {self.problem}"
        root = "" if self.become is None else f", {self.become.user} by {self.become.method} unless root already"
        if login.client == "local":
            return f"on this machine{root}"
        if login.client == "endpoint":
            return f"asked on memcached's port {login.address} {login.port}, without a login"
        port = f" port {login.port}" if login.port not in (None, 22) else ""
        jump = f" through {login.jump}" if login.jump else ""
        return f"{login.client} {login.user}@{login.address}{port}{jump}{root}"


def reach_of(task: HostTask, client: str, queries: SshQueries) -> Reach:
    """Return how a task's host is reached by `client`; it connects to nothing. Raises `ConfigError`."""
    transport, name = task.transport, task.name
    if isinstance(transport, UnsupportedTransport):
        return Reach(ResolvedLogin(name, None, None, None, None, (), "none"), None, transport.error.message)
    if task.endpoint is not None:
        return Reach(
            ResolvedLogin(name, str(task.endpoint.address), task.endpoint.port, None, None, (), "endpoint"), None
        )
    if isinstance(transport, LocalTransport):
        return Reach(ResolvedLogin(name, None, None, None, None, (), "local"), task.target.become)
    return Reach(resolved_login(task.target, client, queries), task.target.become)


def shared_warnings(reached: Sequence[Reach]) -> list[str]:
    """Return a line for each keyword of ssh_config that matters and is not honoured, with the hosts that it is for."""
    return list(_ignored({each.login.host: each.login.ignored for each in reached}))


def details(
    verbose: int, notes: Sequence[str], settings: Iterator[str], tasks: Sequence[HostTask], transports: Transports
) -> Iterator[str]:
    """Yield what `-v` shows before a sweep: how sources were read; with `-vv` the site's settings and each login.

    Raises `ConfigError`.
    """
    if verbose:
        yield from notes
    if verbose > 1:
        yield from settings
        for task in tasks:
            reach = reach_of(task, transports.name_of(task.transport), transports.queries)
            yield f"{task.name}: {reach.line()}"


def login_warnings(tasks: Sequence[HostTask], queries: SshQueries) -> list[Warn]:
    """Return the same about the hosts that a sweep logged in to."""
    ignored: dict[str, tuple[str, ...]] = {}
    for task in tasks:
        if isinstance(task.transport, SshTransport):
            try:
                if queries.asked(query_of(task.target)):
                    ignored[task.name] = ignored_keywords(task.target, queries)
            except ConfigError:
                continue  # the host has this error already
    return [Warn("ssh-config", line) for line in _ignored(ignored)]


def _ignored(keywords: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    hosts: dict[str, list[str]] = {}
    for host, own in keywords.items():
        for keyword in own:
            hosts.setdefault(keyword, []).append(host)
    for keyword, names in hosts.items():
        yield f"{fold(names)}: ssh_config's {keyword} is not honoured by the built-in client: use --transport openssh"
