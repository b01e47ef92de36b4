"""However slow the listener, what waits for it is bounded, and nothing of it is lost."""

from __future__ import annotations

from fleettrace.errors import HostState
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from fleettrace.summary.run import HostResult
from fleettrace.sweep.cancellation import Reason
from fleettrace.sweep.event_queue import EventQueue
from fleettrace.sweep.events import Event, HostStarted, SliceArrived
from fleettrace.sweep.outcome import HostOutcome

KEY = Key(b"k", 1)


def slice_of(host: str, requests: int, instance: str = "1@1") -> SliceArrived:
    return SliceArrived(host, {instance: Summary(requests, keys={KEY: KeyCount(requests)})})


def emptied(inbox: EventQueue) -> list[Event | HostOutcome | Reason]:
    return list(iter(lambda: inbox.get(0), None))


def test_slices_that_wait_become_one_a_host() -> None:
    inbox = EventQueue()
    for number in range(1, 101):
        inbox.put(slice_of("a", number))
        inbox.put(slice_of("b", 1, f"{number % 2}@1"))
    a, b = emptied(inbox)
    assert isinstance(a, SliceArrived)
    assert isinstance(b, SliceArrived)
    assert (a.host, a.slices["1@1"].total, a.slices["1@1"].lower(KEY)) == ("a", 5050, 5050)
    assert {instance: summary.total for instance, summary in b.slices.items()} == {"0@1": 50, "1@1": 50}


def test_a_slice_that_was_heard_of_is_not_told_again() -> None:
    inbox = EventQueue()
    inbox.put(slice_of("a", 1))
    [first] = emptied(inbox)
    inbox.put(slice_of("a", 2))
    [second] = emptied(inbox)
    assert isinstance(first, SliceArrived)
    assert isinstance(second, SliceArrived)
    assert (first.slices["1@1"].total, second.slices["1@1"].total) == (1, 2)


def test_the_order_of_a_hosts_events_is_kept() -> None:
    inbox, outcome = EventQueue(), HostOutcome(HostResult("a", HostState.OK))
    started, arrived = HostStarted("a"), slice_of("a", 1)
    inbox.put(started)
    inbox.put(arrived)
    inbox.put_outcome(outcome)
    assert emptied(inbox) == [started, arrived, outcome]


def test_an_outcome_is_dealt_with_when_the_next_thing_is_asked_for() -> None:
    inbox = EventQueue()
    first, second = (inbox.put_outcome(HostOutcome(HostResult(name, HostState.OK))) for name in "ab")
    assert inbox.get(0) is not None
    assert not first.is_set()
    assert inbox.get(0) is not None
    assert (first.is_set(), second.is_set()) == (True, False)
    assert inbox.get(0) is None
    assert second.is_set()


def test_nobody_waits_for_a_closed_one() -> None:
    inbox = EventQueue()
    before = [inbox.put_outcome(HostOutcome(HostResult(name, HostState.OK))) for name in "abc"]
    inbox.get(0)
    inbox.close()
    assert all(one.is_set() for one in [*before, inbox.put_outcome(HostOutcome(HostResult("d", HostState.OK)))])
