"""How each host of a run is reached, as `plan` and the progress of a run show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleettrace.app.unsupported import UnsupportedTransport
from fleettrace.report.host_folding import fold
from fleettrace.sweep.settings import HostTask
from fleettrace.transport.interface import Become
from fleettrace.transport.local.transport import LocalTransport
from fleettrace.transport.reach import ResolvedLogin, resolved_login
from fleettrace.transport.ssh_query import SshQueries

__all__ = ["Reach", "reach_of", "shared_warnings"]


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
        port = f" port {login.port}" if login.port not in (None, 22) else ""
        jump = f" through {login.jump}" if login.jump else ""
        return f"{login.client} {login.user}@{login.address}{port}{jump}{root}"


def reach_of(task: HostTask, client: str, queries: SshQueries) -> Reach:
    """Return how a task's host is reached by `client`; it connects to nothing. Raises `ConfigError`."""
    transport, name = task.transport, task.name
    if isinstance(transport, UnsupportedTransport):
        return Reach(ResolvedLogin(name, None, None, None, None, (), "none"), None, transport.error.message)
    if isinstance(transport, LocalTransport):
        return Reach(ResolvedLogin(name, None, None, None, None, (), "local"), task.target.become)
    return Reach(resolved_login(task.target, client, queries), task.target.become)


def shared_warnings(reached: Sequence[Reach]) -> Iterator[str]:
    """Yield a line for each keyword of ssh_config that matters and is not honoured, with the hosts that it is for."""
    hosts: dict[str, list[str]] = {}
    for each in reached:
        for keyword in each.login.ignored:
            hosts.setdefault(keyword, []).append(each.login.host)
    for keyword, names in hosts.items():
        yield f"{fold(names)}: ssh_config's {keyword} is not honoured by the built-in client: use --transport openssh"
