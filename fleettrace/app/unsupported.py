"""Hosts that a run names but does not connect to, so that one odd host of an inventory stops no other."""

from __future__ import annotations

from fleettrace.errors import FailureCatalogue, HostError, HostState
from fleettrace.transport.interface import Connection, Target

__all__ = ["InventoryFailure", "NoLogin", "UnsupportedTransport", "connection_unsupported", "variable_unusable"]


class InventoryFailure(FailureCatalogue):
    """Reasons of the inventory for not connecting to a host."""

    CONNECTION_UNSUPPORTED = (
        "connection-unsupported",
        HostState.SKIPPED,
        "the inventory reaches it in a way that fleettrace does not have",
        "leave it out of --hosts, or set ansible_connection to ssh or local",
    )
    VARIABLE_UNUSABLE = (
        "variable-unusable",
        HostState.SKIPPED,
        "one of its inventory variables cannot be used",
        "correct the variable",
    )
    ENDPOINT = (
        "endpoint-no-login",
        HostState.SKIPPED,
        "the inventory names only a memcached port for it, and no login",
        "remove fleettrace_endpoint to log in to it",
    )


class UnsupportedTransport:
    """A transport that reaches no host."""

    def __init__(self, error: HostError) -> None:
        self.error = error

    def connect(self, _target: Target) -> Connection:
        """Raise the host's error."""
        raise self.error

    def close(self) -> None:
        """Do nothing."""


class NoLogin:
    """The transport of a host with an endpoint: it never logs in."""

    def connect(self, _target: Target) -> Connection:
        """Raise `HostError`."""
        raise InventoryFailure.ENDPOINT.error()

    def close(self) -> None:
        """Do nothing."""


def connection_unsupported(name: str) -> HostError:
    """Return the error of a host with the Ansible connection `name`."""
    return InventoryFailure.CONNECTION_UNSUPPORTED.error(f"its ansible_connection is {name!r}")


def variable_unusable(message: str) -> HostError:
    """Return the error of a host with a variable that cannot be used; `message` has which, and the cure."""
    failure = InventoryFailure.VARIABLE_UNUSABLE
    return HostError(failure.state, failure.code, message)
