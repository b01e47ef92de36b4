"""How a target would be reached, without a connection: what `fleettrace plan` shows."""

from __future__ import annotations

from dataclasses import dataclass

from fleettrace.transport.interface import Target
from fleettrace.transport.login_options import ask_ssh, login_options
from fleettrace.transport.ssh_query import SshQueries

__all__ = ["ResolvedLogin", "ignored_keywords", "resolved_login"]


@dataclass(frozen=True, slots=True)
class ResolvedLogin:
    """The login that inventory and ssh_config come to."""

    host: str
    """The inventory's name."""
    address: str | None
    port: int | None
    user: str | None
    jump: str | None
    """The bastions, from the controller's side on, as `ssh -J` takes them; or the ProxyCommand."""
    identity_files: tuple[str, ...]
    client: str
    ignored: tuple[str, ...] = ()
    """Keywords of ssh_config that matter and that the client does not honour."""


def ignored_keywords(target: Target, queries: SshQueries) -> tuple[str, ...]:
    """Return the keywords of a target's ssh_config that matter and that the client `ssh` does not honour.

    Raises `ConfigError`.
    """
    return queries.ignored(ask_ssh(target, queries), target.ssh_executable or "ssh")


def resolved_login(target: Target, client: str, queries: SshQueries) -> ResolvedLogin:
    """Return how `client` (`ssh` or `openssh`) would log in to `target`, without connecting. Raises `ConfigError`."""
    options = login_options(target, queries)
    jumps: list[str] = []
    bastion = options.bastion
    while bastion is not None:
        jumps.insert(0, f"{bastion.user}@{bastion.address}")
        bastion = bastion.bastion
    ignored = ignored_keywords(target, queries) if client == "ssh" else ()
    files = ((options.key_file,) if options.key_file else ()) + options.identities
    return ResolvedLogin(
        host=target.name,
        address=options.host,
        port=options.port,
        user=options.user,
        jump=",".join(jumps) or options.proxy_command,
        identity_files=tuple(str(path) for path in files),
        client=client,
        ignored=ignored,
    )
