"""Profiles of traffic, and the plans of commands drawn from them. Pure.

The same profile and seed give the same plan on every machine and Python version.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleettrace.lab.protocol import Command
from fleettrace.lab.truth import Verb

__all__ = ["ALL_VERBS", "HOSTILE_ASCII", "HOSTILE_BINARY", "WEB", "Drawer", "Profile", "plan"]

HOSTILE_ASCII: tuple[bytes, ...] = (
    b"a,b,c",
    b"]:7",
    b"x]:_7,[3",
    b"@r[1,2,3]:4",
    b"quote'double\"back`tick\\slash",
    b"[bold]red[/bold]",
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"$(reboot);`id`|&>",
    b"{{template}}%s%n",
    b"\xff\xfe\x80\xc3\x28",
    "ключ:日本:🔑".encode(),
    b"k" * 250,
    b"\xd0" * 250,
)
"""Keys that the ascii protocol accepts and that a careless program mishandles."""
HOSTILE_BINARY: tuple[bytes, ...] = (
    b"with space",
    b"]: 7",
    b"line\nbreak",
    b"a]: 1\n@r[9, 9, 3, evil]: 9",
    b"tab\tand\rreturn",
    b"nul\x00inside",
    b"u\x00\x00\x00\x00\x00\x00\x00\x01",
    b"u\x00\x00\x00\x00\x00\x00\x00\x02",
    b"little endian\x07\x00\x00\x00",
    b"\x00" * 71 + b"z",
    b"long and packed".ljust(90, b".") + b"\x00\x01",
    b" leading and trailing ",
    bytes(range(1, 251)),
)
"""Keys that only the binary protocol accepts."""
ALL_VERBS: Mapping[Verb, float] = {
    "get": 40, "gets": 5, "gat": 3, "gats": 2, "set": 10, "add": 3, "replace": 3, "append": 2, "prepend": 2, "cas": 2,
    "delete": 4, "incr": 4, "decr": 2, "touch": 3, "mg": 8, "ms": 4, "md": 2, "ma": 2,
    "bget": 5, "bgetk": 3, "bset": 3, "bdelete": 1, "bincr": 1, "btouch": 1,
}  # fmt: skip
"""Every command of the load generator, with its weight."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The composition of traffic. Shares are fractions of the keys drawn; the remaining ones follow Zipf's law."""

    verbs: Mapping[Verb, float] = field(default_factory=lambda: {"get": 90, "set": 8, "delete": 2})
    """Relative weights of the commands (not of requests: a multiget is one command)."""
    families: Sequence[str] = ("user:{n}:profile", "session:{n}", "item:{n}:price")
    """Templates of the ordinary keys; `{n}` is a number."""
    keys: int = 1000
    """The number of ordinary keys."""
    skew: float = 1.0
    """Zipf's exponent over the ordinary keys; with 0 all are equally likely."""
    hot: Mapping[bytes, float] = field(default_factory=dict)
    """Hot keys and their shares."""
    late: Mapping[bytes, float] = field(default_factory=dict)
    """Keys that first appear at `late_after`, and their shares from then on."""
    late_after: float = 0.5
    """A fraction of the plan."""
    hot_family: str | None = None
    """A template; its keys share `hot_family_share` evenly, so that the family is hot and no key of it is."""
    hot_family_share: float = 0.2
    hot_family_keys: int = 2000
    hostile: Sequence[bytes] = ()
    hostile_share: float = 0.1
    """Divided evenly among the hostile keys. Keys that only the binary protocol accepts are sent over it."""
    multiget: int = 1
    """The largest number of keys in a get, gets, gat or gats."""
    value_size: int = 8
    """Bytes of a stored value; digits, so that arithmetic works on it."""

    def ordinary(self) -> list[bytes]:
        """Return the ordinary keys, hottest first."""
        names = itertools.cycle(self.families)
        return [
            name.replace("{n}", str(number)).encode() for number, name in zip(range(self.keys), names, strict=False)
        ]


BINARY_TWIN: Mapping[Verb, Verb] = {
    **dict.fromkeys(("get", "gets", "mg"), "bget"),
    **dict.fromkeys(("set", "add", "replace", "append", "prepend", "cas", "ms"), "bset"),
    **dict.fromkeys(("delete", "md"), "bdelete"),
    **dict.fromkeys(("incr", "decr", "ma"), "bincr"),
    **dict.fromkeys(("touch", "gat", "gats"), "btouch"),
}
SEVERAL = ("get", "gets", "gat", "gats")

WEB = Profile(
    verbs={"get": 82, "gets": 2, "set": 9, "delete": 2, "incr": 2, "touch": 1, "mg": 2}, multiget=8, keys=5000, skew=0.9
)
"""Traffic like a web site's: mostly reads, some of several keys at a time."""


class Drawer:
    """Draws keys and commands from a profile."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.random = random.Random(seed)
        self.verbs = list(profile.verbs)
        self.verb_weights = list(itertools.accumulate(profile.verbs.values()))
        self.early = self.pool(late=False)
        self.all = self.pool(late=True)

    def pool(self, *, late: bool) -> tuple[list[bytes], list[float]]:
        """Return the keys to draw from, with their cumulative weights."""
        profile = self.profile
        shares: list[tuple[bytes, float]] = [*profile.hot.items(), *(profile.late.items() if late else ())]
        if profile.hot_family is not None:
            each = profile.hot_family_share / profile.hot_family_keys
            numbers = range(100_000, 100_000 + profile.hot_family_keys)
            shares += [(profile.hot_family.replace("{n}", str(n)).encode(), each) for n in numbers]
        shares += [(key, profile.hostile_share / len(profile.hostile)) for key in profile.hostile]
        rest = 1.0 - sum(share for _, share in shares)
        if rest < 0:
            raise ValueError(f"the shares of a profile add up to {1.0 - rest:.2f}; they must not exceed 1")
        weights = [1.0 / (rank + 1) ** profile.skew for rank in range(profile.keys)]
        scale = rest / sum(weights) if weights else 0.0
        shares += [(key, weight * scale) for key, weight in zip(profile.ordinary(), weights, strict=True)]
        return [key for key, _ in shares], list(itertools.accumulate(share for _, share in shares))

    def draw(self, *, late: bool) -> Command:
        """Draw the next command, with or without the late keys."""
        verb = self.random.choices(self.verbs, cum_weights=self.verb_weights)[0]
        keys, weights = self.all if late else self.early
        size = self.random.randint(1, self.profile.multiget) if verb in SEVERAL and self.profile.multiget > 1 else 1
        drawn = self.random.choices(keys, cum_weights=weights, k=size)
        ascii_keys = [key for key in drawn if not any(byte <= 0x20 or byte == 0x7F for byte in key)]
        if not ascii_keys:
            drawn = drawn[:1]
            verb = BINARY_TWIN.get(verb, verb)
        elif verb in SEVERAL:
            drawn = ascii_keys
        arithmetic = verb in ("incr", "decr", "ma", "bincr")
        return Command(verb, tuple(drawn), b"1" if arithmetic else b"1" * self.profile.value_size)


def plan(profile: Profile, seed: int, commands: int) -> list[Command]:
    """Return `commands` commands of a profile, always the same for a seed. Raises `ValueError` for shares beyond 1."""
    drawer = Drawer(profile, seed)
    late_from = int(commands * profile.late_after)
    return [drawer.draw(late=number >= late_from) for number in range(commands)]
