"""The rows of `fleettrace history`: a run in one line, a key or a host in one run."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from fleettrace.summary.key import Key

__all__ = ["HostPoint", "KeyPoint", "RunLine"]


class RunLine(NamedTuple):
    """A run of the history, in one line."""

    run: str
    started: datetime
    playbook: str
    pattern: str
    hosts: int
    hosts_ok: int
    requests: int
    rate: float | None
    keys: int
    """Distinct keys."""
    hottest: Key | None
    hottest_requests: int


class KeyPoint(NamedTuple):
    """A key in one run of the history."""

    run: str
    started: datetime
    place: int | None
    """1 for the hottest; None when it is not among the stored keys."""
    requests: int
    requests_max: int
    share: float | None
    rate: float | None


class HostPoint(NamedTuple):
    """A host in one run of the history."""

    run: str
    started: datetime
    state: str
    requests: int | None
    share: float | None
    rate: float | None
