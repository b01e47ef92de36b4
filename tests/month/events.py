"""The events planted in the month, and how the audit must name each at its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tests.month.conditions import Conditions, key

__all__ = ["EVENTS", "Event", "conditions_at"]

_NEW = 112
"""A key that does not exist in the ordinary month."""


@dataclass(frozen=True)
class Event:
    """A change of the conditions from one hour to another, and the findings that must name it."""

    what: str
    begin: int
    end: int
    """The first hour without it."""
    plant: Callable[[Conditions, int], object]
    """Changes the conditions of an hour between the two."""
    at_begin: Sequence[str] = ()
    """What must be part of the messages in the first hour, as patterns."""
    during: Sequence[str] = ()
    """What must be part of the messages in all later hours."""
    at_end: Sequence[str] = ()
    """What must be part of the messages in the first hour without it."""
    allowed: Sequence[str] = ()
    """What else may be found when it begins or ends, as a consequence; unknown findings also while it lasts."""
    later: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """What must be found in other hours."""

    def expected(self, hour: int) -> Sequence[str]:
        """Return what must be found in this hour."""
        edges = {self.begin: self.at_begin, self.end: self.at_end, **self.later}
        return edges.get(hour, self.during)

    def changes(self, hour: int) -> bool:
        """Return whether it changes something from the hour before."""
        return hour in (self.begin, self.end) or hour in self.later


_HOSTS = r"host cache-\d (risen|fallen)"
"""A large change of a key is one of its host."""

_MISSING = ("unknown.*cache-\\d (is missing|cannot be compared)", "unknown.*host.load is not known")
"""Rules cannot be judged while a host is missing."""


def _away_then_risen(conditions: Conditions, hour: int) -> None:
    conditions.times[9] = 5.0
    if hour == 190:
        conditions.down.add(3)


def _flap(conditions: Conditions, hour: int) -> None:
    if hour % 2:
        conditions.down.add(3)
    if hour >= 305:
        conditions.times[9] = 4.0


EVENTS = (
    Event(
        "deploy: a new hot key",
        20,
        44,
        lambda now, _: now.times.update({_NEW: 12.0}),
        [f"certain.*key {key(_NEW)}: new at .*new key in top 10", f"certain.*key {key(_NEW)} new at"],
        at_end=[f"certain.*key {key(_NEW)} gone"],
    ),
    Event(
        "deploy: a key disappears",
        60,
        84,
        lambda now, _: now.times.update({4: 0.0}),
        [f"certain.*key {key(4)} gone"],
        at_end=[f"certain.*key {key(4)} new at"],
        allowed=["new key in top 10", _HOSTS],
    ),
    Event(
        "a key triples",
        100,
        110,
        lambda now, _: now.times.update({7: 3.0}),
        [f"certain.*key {key(7)} risen"],
        at_end=[f"certain.*key {key(7)} fallen"],
        allowed=["new key in top 10", _HOSTS],
    ),
    Event(
        "a key moves to another host",
        120,
        130,
        lambda now, _: now.places.update({2: 1}),
        [f"certain.*key {key(2)} moved from cache-2 to cache-1"],
        at_end=[f"certain.*key {key(2)} moved from cache-1 to cache-2"],
        allowed=[_HOSTS],
    ),
    Event(
        "all traffic stops",
        140,
        142,
        lambda now, _: setattr(now, "rate", 0.0),
        ["certain.*fleet.rate gone", "unknown.*no request was traced"],
        ["unknown.*no request was traced"],
        ["certain.*fleet.rate new at"],
        ["unknown", r"family user:\{\}:profile (gone|new)"],
    ),
    Event(
        "traffic falls to a tenth",
        150,
        153,
        lambda now, _: setattr(now, "rate", 0.1),
        ["certain.*fleet.rate fallen 0.1"],
        at_end=["certain.*fleet.rate risen"],
        allowed=["unknown"],
    ),
    Event(
        "outage: no host can be reached",
        170,
        172,
        lambda now, _: now.down.update(range(6)),
        ["unknown"],
        ["unknown"],
    ),
    Event(
        "a key rises on a host that is away in that hour",
        190,
        200,
        _away_then_risen,
        ["unknown.*cache-3 cannot be compared"],
        later={191: [f"certain.*key {key(9)} risen"]},
        at_end=[f"certain.*key {key(9)} fallen"],
        allowed=[_HOSTS, *_MISSING],
    ),
    Event(
        "a host is away for nine hours of the morning",
        210,
        219,
        lambda now, _: now.down.add(1),
        ["unknown.*cache-1 cannot be compared"],
        ["unknown.*cache-1 cannot be compared"],
        allowed=_MISSING,
    ),
    Event(
        "the clock is a year ahead for one run",
        230,
        231,
        lambda now, _: setattr(now, "clock", timedelta(days=365)),
        at_end=["warning.*is dated later"],
    ),
    Event(
        "the clock steps back by three days",
        240,
        290,
        lambda now, _: setattr(now, "clock", timedelta(days=-3)),
        ["warning.*is dated later"],
    ),
    Event(
        "a key rises during the clock's error",
        250,
        260,
        lambda now, _: now.times.update({6: 3.0}),
        [f"certain.*key {key(6)} risen"],
        at_end=[f"certain.*key {key(6)} fallen"],
        allowed=["new key in top 10", _HOSTS],
    ),
    Event(
        "a host flaps, and a key on it rises meanwhile",
        300,
        321,
        _flap,
        later={306: [f"certain.*key {key(9)} risen"]},
        at_end=[f"certain.*key {key(9)} fallen"],
        allowed=[_HOSTS, *_MISSING],
    ),
    Event(
        "a host is renamed",
        340,
        900,
        lambda now, _: now.names.update({4: "memc-4"}),
        [
            "certain.*host cache-4 no longer selected .*it may be memc-4",
            "host memc-4 newly selected .*it may be cache-4",
        ],
        allowed=["unknown.*cannot be compared"],
    ),
    Event(
        "a host joins the inventory",
        360,
        900,
        lambda now, _: setattr(now, "hosts", 6),
        ["certain.*host cache-5 newly selected"],
        allowed=["unknown.*cannot be compared"],
    ),
    Event(
        "coverage falls to 88 %",
        380,
        385,
        lambda now, _: setattr(now, "coverage", 0.88),
        ["certain.*coverage fallen from >?99.9% to 88.0%", "certain.*coverage < 95%"],
        ["certain.*coverage < 95%"],
        ["certain.*coverage risen"],
    ),
    Event(
        "the history is damaged",
        400,
        401,
        lambda now, _: setattr(now, "store", "garbage"),
        ["unknown.*the history cannot be read", "exit code 2: the run is not stored"],
        allowed=["exit code 2: no run to compare with"],
    ),
    Event(
        "the disk is full",
        410,
        411,
        lambda now, _: setattr(now, "store", "full"),
        ["unknown.*the history cannot be read", "exit code 2: the run is not stored"],
        allowed=["exit code 2: no run to compare with"],
    ),
    Event(
        "the playbook: another threshold",
        430,
        450,
        lambda now, _: now.playbook.update({"key.share > 25%": "key.share > 12%"}),
        [f"certain.*{key(0)}.*key.share > 12%"],
        [f"certain.*{key(0)}.*key.share > 12%"],
    ),
    Event(
        "the playbook: another name of the play",
        460,
        900,
        lambda now, _: now.playbook.update({"name: fleet": "name: caches"}),
        ["unknown.*no comparable run .*first of its kind"],
    ),
    Event(
        "the playbook: only gets are counted",
        480,
        490,
        lambda now, _: now.playbook.update({"quiet: true": "quiet: true, ops: [get]"}),
        ["unknown.*no comparable run .*differs in --ops"],
    ),
    Event(
        "another inventory in the same history",
        500,
        502,
        lambda now, _: setattr(now, "inventory", "west.yaml"),
        ["unknown.*no comparable run .*differs in the inventory"],
    ),
    Event(
        "the playbook: windows of a second",
        520,
        525,
        lambda now, _: now.playbook.update({"duration: 10s": "duration: 1s"}),
        later={521: ["unknown.*too short"], 524: ["unknown.*too short"]},
        allowed=["unknown.*too short"],
    ),
    Event(
        "a doubled key",
        550,
        560,
        lambda now, _: now.times.update({5: 2.2}),
        [f"certain.*key {key(5)} risen"],
        at_end=[f"certain.*key {key(5)} fallen"],
        allowed=["new key in top 10", _HOSTS],
    ),
    Event(
        "one key takes most requests",
        600,
        606,
        lambda now, _: now.times.update({1: 20.0}),
        [f"certain.*{key(1)}.*key.share > 25%", f"certain.*key {key(1)} risen", "host.load > 3 x mean"],
        [f"certain.*{key(1)}.*key.share > 25%", "host.load > 3 x mean"],
        [f"certain.*key {key(1)} fallen"],
        [_HOSTS, "fleet.rate (risen|fallen)"],
    ),
)


def conditions_at(hour: int) -> tuple[Conditions, list[Event]]:
    """Return the conditions of an hour, and the events that last or have just ended."""
    now = Conditions()
    active = [event for event in EVENTS if event.begin <= hour <= event.end]
    for event in active:
        if hour < event.end:
            event.plant(now, hour)
    return now, active
