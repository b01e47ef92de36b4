"""The queue is bounded, however slow the subscribers, and loses nothing."""

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


def emptied(events: EventQueue) -> list[Event | HostOutcome | Reason]:
    return list(iter(lambda: events.get(0), None))


def test_waiting_slices_are_merged_per_host() -> None:
    events = EventQueue()
    for number in range(1, 101):
        events.put(slice_of("a", number))
        events.put(slice_of("b", 1, f"{number % 2}@1"))
    a, b = emptied(events)
    assert isinstance(a, SliceArrived)
    assert isinstance(b, SliceArrived)
    assert (a.host, a.slices["1@1"].total, a.slices["1@1"].lower(KEY)) == ("a", 5050, 5050)
    assert {instance: summary.total for instance, summary in b.slices.items()} == {"0@1": 50, "1@1": 50}


def test_delivered_slice_is_not_delivered_again() -> None:
    events = EventQueue()
    events.put(slice_of("a", 1))
    [first] = emptied(events)
    events.put(slice_of("a", 2))
    [second] = emptied(events)
    assert isinstance(first, SliceArrived)
    assert isinstance(second, SliceArrived)
    assert (first.slices["1@1"].total, second.slices["1@1"].total) == (1, 2)


def test_events_of_a_host_stay_in_order() -> None:
    events, outcome = EventQueue(), HostOutcome(HostResult("a", HostState.OK))
    started, arrived = HostStarted("a"), slice_of("a", 1)
    events.put(started)
    events.put(arrived)
    events.put_outcome(outcome)
    assert emptied(events) == [started, arrived, outcome]


def test_outcome_is_merged_at_the_next_get() -> None:
    events = EventQueue()
    first, second = (events.put_outcome(HostOutcome(HostResult(name, HostState.OK))) for name in "ab")
    assert events.get(0) is not None
    assert not first.is_set()
    assert events.get(0) is not None
    assert (first.is_set(), second.is_set()) == (True, False)
    assert events.get(0) is None
    assert second.is_set()


def test_closed_queue_releases_every_thread() -> None:
    events = EventQueue()
    before = [events.put_outcome(HostOutcome(HostResult(name, HostState.OK))) for name in "abc"]
    events.get(0)
    events.close()
    assert all(one.is_set() for one in [*before, events.put_outcome(HostOutcome(HostResult("d", HostState.OK)))])
