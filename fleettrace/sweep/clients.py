"""Attribute the requests of a trace that asks for clients: read the sockets around it, and name each descriptor's
peer."""

from __future__ import annotations

from collections.abc import Sequence

from fleettrace.node.model import Instance
from fleettrace.node.sockets import Sockets, peer_of, read_sockets
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import ProbePlan
from fleettrace.summary.clients import by_client
from fleettrace.summary.host_clients import HostClients
from fleettrace.summary.run import HostResult
from fleettrace.transport.interface import Connection

__all__ = ["ClientReader", "host_clients"]

_ROOM = 0.75
"""The part of the program's map of accepted connections that descriptors may fill. Were it full, a descriptor that is
used again would pass for the connection before. The kernel gives each connection the lowest free one."""


class ClientReader:
    """Reads the sockets of the processes with a plan that asks for clients; does nothing where none does."""

    def __init__(self, connection: Connection, plans: Sequence[tuple[Instance, ProbePlan]], entries: int) -> None:
        """Read the sockets before the program is attached. `entries` is the size of its maps."""
        self._most = int(entries * _ROOM)
        self._connection = connection
        self._keys = {instance.pid: len(plan.asked.keys) for instance, plan in plans if plan.asked is not None}
        self._all_keys = [instance.pid for instance, plan in plans if plan.descriptor is not None]
        self._before = self._read()
        self._later: list[dict[int, Sockets]] = []

    def read_again(self) -> None:
        """Read the sockets after counting began."""
        self._later.append(self._read())

    def attribute(self, end: TraceEnd) -> None:
        """Put clients into the summaries of a trace that has ended, or beside them."""
        self.read_again()
        full = any(
            sum(max(sockets.inodes, default=0) for sockets in reading.values()) > self._most
            for reading in (self._before, *self._later)
        )
        for pid in self._pids:
            later = [reading[pid] for reading in self._later if pid in reading]
            peer = peer_of(Sockets() if full else self._before.get(pid, Sockets()), later)
            if pid in self._keys:
                end.summaries[pid] = by_client(end.summaries[pid], self._keys[pid], peer)
            elif end.client_counts is not None:
                end.clients[pid] = end.client_counts.of_process(pid, end.summaries[pid], peer)

    @property
    def _pids(self) -> list[int]:
        return sorted({*self._keys, *self._all_keys})

    def _read(self) -> dict[int, Sockets]:
        return read_sockets(self._connection, pids) if (pids := self._pids) else {}


def host_clients(result: HostResult, end: TraceEnd) -> HostClients | None:
    """Return the clients of all reported instances of a host together; None where no instance shows its clients.

    The clients of the other instances are unknown ones.
    """
    reported = [(instance.pid, instance.requests) for instance in result.instances if instance.requests is not None]
    if not any(pid in end.clients for pid, _ in reported):
        return None
    total = HostClients()
    for pid, requests in reported:
        total.add(end.clients.get(pid) or HostClients(requests))
    return total.bounded(key for key, _ in result.top)
