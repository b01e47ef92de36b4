"""Cut the hosts into waves, and decide after how many failures the sweep aborts. Pure.

The sizes are those of Ansible's `serial`: numbers of hosts or percentages of all hosts, in order; the last size repeats
until no host is left. The first of several waves is the canary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from fleettrace.text_format import plural

__all__ = ["WaveSize", "abort_reason", "in_waves", "serial"]

_Item = TypeVar("_Item")

_ROUNDING = 1e-9
"""29 % of 100 hosts are 29, although 0.29 * 100 is a little less in floating point."""


@dataclass(frozen=True, slots=True)
class WaveSize:
    """The size of a wave: a number of `hosts`, or a `share` (0 to 1) of all hosts."""

    hosts: int | None = None
    share: float | None = None

    def of(self, total: int) -> int:
        """Return the number of hosts out of `total`. At least one, as with Ansible, however small the share."""
        if self.hosts is not None:
            return self.hosts
        return max(1, int((self.share or 0) * total + _ROUNDING))


def serial(text: str) -> tuple[WaveSize, ...]:
    """Parse sizes such as `1,10%,100%`. Raises `ValueError`."""
    return tuple(_size(word.strip(), text) for word in text.split(","))


def _size(word: str, text: str) -> WaveSize:
    found = re.fullmatch(r"([0-9]{1,7})|([0-9]{1,3}(?:\.[0-9]+)?)%", word)
    if found and found[1] and int(found[1]) > 0:
        return WaveSize(hosts=int(found[1]))
    if found and found[2] and 0 < float(found[2]) <= 100:
        return WaveSize(share=float(found[2]) / 100)
    raise ValueError(
        f"invalid wave size {word!r} in {text!r}: expected numbers of hosts or percentages, such as 1,10%,100%"
    )


def in_waves(items: Sequence[_Item], sizes: Sequence[WaveSize]) -> list[Sequence[_Item]]:
    """Cut `items`, in order, into waves. Without sizes, or with no more items than the first size, return one wave."""
    if not sizes:
        return [items] if items else []
    waves: list[Sequence[_Item]] = []
    start = 0
    while start < len(items):
        size = sizes[min(len(waves), len(sizes) - 1)].of(len(items))
        waves.append(items[start : start + size])
        start += size
    return waves


def abort_reason(failed: int, started: int, wave: int, waves: int, max_fail: float | None) -> str | None:
    """Return why the sweep starts no further host, None while it may go on.

    `failed` of the `started` hosts (all of the waves so far, the current one included) have failed. `max_fail` is the
    share that may fail. If it is None, no host of the canary may fail, and any number of later ones.
    """
    canary = wave == 1 and waves > 1
    if max_fail is None:
        return f"{_of(failed, started)} of the first wave failed" if canary and failed else None
    if failed <= max_fail * started + _ROUNDING:
        return None
    where = "of the first wave" if canary else "started so far"
    return f"{_of(failed, started)} {where} failed, and --max-fail is {max_fail * 100:.4g}%"


def _of(failed: int, started: int) -> str:
    return f"{failed:,} of {plural(started, 'host')}"
