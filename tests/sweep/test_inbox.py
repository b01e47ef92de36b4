"""However slow the listener, what waits for it is bounded, and nothing of it is lost."""

from __future__ import annotations

import threading

from fleettrace.errors import HostState
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult
from fleettrace.sweep.events import Event, HostStarted, SliceArrived
from fleettrace.sweep.inbox import OUTCOMES, Inbox
from fleettrace.sweep.outcome import HostOutcome
from fleettrace.sweep.stop import Reason

KEY = Key(b"k", 1)


def slice_of(host: str, requests: int, instance: str = "1@1") -> SliceArrived:
    return SliceArrived(host, {instance: Summary(requests, keys={KEY: KeyCount(requests)})})


def emptied(inbox: Inbox) -> list[Event | HostOutcome | Reason]:
    return list(iter(lambda: inbox.get(0), None))


def test_slices_that_wait_become_one_a_host() -> None:
    inbox = Inbox()
    for number in range(1, 101):
        inbox.put(slice_of("a", number))
        inbox.put(slice_of("b", 1, f"{number % 2}@1"))
    a, b = emptied(inbox)
    assert isinstance(a, SliceArrived)
    assert isinstance(b, SliceArrived)
    assert (a.host, a.slices["1@1"].total, a.slices["1@1"].lower(KEY)) == ("a", 5050, 5050)
    assert {instance: summary.total for instance, summary in b.slices.items()} == {"0@1": 50, "1@1": 50}


def test_a_slice_that_was_heard_of_is_not_told_again() -> None:
    inbox = Inbox()
    inbox.put(slice_of("a", 1))
    [first] = emptied(inbox)
    inbox.put(slice_of("a", 2))
    [second] = emptied(inbox)
    assert isinstance(first, SliceArrived)
    assert isinstance(second, SliceArrived)
    assert (first.slices["1@1"].total, second.slices["1@1"].total) == (1, 2)


def test_the_order_of_a_hosts_events_is_kept() -> None:
    inbox, outcome = Inbox(), HostOutcome(HostResult("a", HostState.OK))
    started, arrived = HostStarted("a"), slice_of("a", 1)
    for item in (started, arrived, outcome):
        inbox.put(item)
    assert emptied(inbox) == [started, arrived, outcome]


def test_threads_wait_while_many_outcomes_lie_there() -> None:
    inbox, left = Inbox(), threading.Semaphore(0)

    def leave() -> None:
        inbox.put(HostOutcome(HostResult("a", HostState.OK)))
        left.release()

    threads = [threading.Thread(target=leave, daemon=True) for _ in range(OUTCOMES + 3)]
    for thread in threads:
        thread.start()
    assert all(left.acquire(timeout=5) for _ in range(OUTCOMES))
    assert not left.acquire(timeout=0.1)
    assert inbox.get(1) is not None
    assert left.acquire(timeout=5)
    inbox.close(len(threads))
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
