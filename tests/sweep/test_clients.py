"""The sockets of a trace are read before, during and after it, and only where it asks for clients."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.sockets import Sockets
from fleettrace.node.trace_end import TraceEnd
from fleettrace.probes.model import Asked
from fleettrace.probes.selection import preview
from fleettrace.summary.clients import ClientKey
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.sweep import clients
from fleettrace.sweep.clients import ClientReader
from fleettrace.transport.interface import Connection

PID = 7
SERVER = Instance(PID, 1, NodeBinary("1:2", 3, None), b"", None, (), None)
NOWHERE = cast(Connection, None)
READING = {PID: Sockets({5: 100}, {100: "10.0.0.1"})}


def client_of(monkeypatch: pytest.MonkeyPatch, *readings: Mapping[int, Sockets]) -> str | None:
    """Return the client of descriptor 5 by these readings."""
    later = iter(readings)
    monkeypatch.setattr(clients, "read_sockets", lambda *_: next(later))
    plan = replace(preview(), asked=Asked((b"k",), 8))
    reader = ClientReader(NOWHERE, [(SERVER, plan)], 65536)
    for _ in readings[2:]:
        reader.read_again()
    counted = Summary(3, keys={Key.whole(struct.pack("<QQQQ", 1, 5, 0, 0)): KeyCount(3)})
    end = TraceEnd(True, False, 1.0, {PID: counted}, {PID}, set())
    reader.attribute(end)
    [key] = end.summaries[PID].keys
    return ClientKey.read(key).client


def test_descriptor_read_twice_names_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_of(monkeypatch, READING, READING, {PID: Sockets()}) == "10.0.0.1"
    assert client_of(monkeypatch, READING, {}, READING) == "10.0.0.1"


def test_nodes_that_give_no_sockets_have_unknown_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_of(monkeypatch, {}, {}, {}) is None
    assert client_of(monkeypatch, READING, {}, {}) is None


def test_too_many_connections_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    # The map has 65,536 entries, and the largest descriptor shows how many there were.
    many = {PID: Sockets({5: 100, 50_000: 101}, {100: "10.0.0.1"})}
    assert client_of(monkeypatch, READING, READING, many) is None


def test_other_traces_read_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> dict[int, Sockets]:
        raise AssertionError("read")

    monkeypatch.setattr(clients, "read_sockets", fail)
    reader = ClientReader(NOWHERE, [(SERVER, preview())], 65536)
    summary = Summary(1, keys={Key.whole(b"k"): KeyCount(1)})
    end = TraceEnd(True, False, 1.0, {PID: summary}, {PID}, set())
    reader.read_again()
    reader.attribute(end)
    assert end.summaries[PID] is summary
