"""Waves: which hosts are swept together, and how many may fail before the rest is spared. Pure.

Sizes are Ansible's `serial`: numbers of hosts or percentages of all of them, in order, the last one again until every
host has had its turn. The first of several waves is the canary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from fleettrace.text_format import plural

__all__ = ["WaveSize", "excess", "in_waves", "serial"]

_Item = TypeVar("_Item")

_ROUNDING = 1e-9
"""29 % of 100 hosts are 29, though 0.29 * 100 is a little less."""


@dataclass(frozen=True, slots=True)
class WaveSize:
    """How many hosts a wave has: `hosts` of them, or that share (0 to 1) of all."""

    hosts: int | None = None
    share: float | None = None

    def of(self, total: int) -> int:
        """The number of hosts among `total`. At least one, as with Ansible: a share of few hosts is not none."""
        if self.hosts is not None:
            return self.hosts
        return max(1, int((self.share or 0) * total + _ROUNDING))


def serial(text: str) -> tuple[WaveSize, ...]:
    """The sizes in `1,10%,100%`. Raises `ValueError`."""
    return tuple(_size(word.strip(), text) for word in text.split(","))


def _size(word: str, text: str) -> WaveSize:
    found = re.fullmatch(r"([0-9]{1,7})|([0-9]{1,3}(?:\.[0-9]+)?)%", word)
    if found and found[1] and int(found[1]) > 0:
        return WaveSize(hosts=int(found[1]))
    if found and found[2] and 0 < float(found[2]) <= 100:
        return WaveSize(share=float(found[2]) / 100)
    raise ValueError(
        f"{word!r} in {text!r} is no size of a wave: expected numbers of hosts or percentages, such as 1,10%,100%"
    )


def in_waves(items: Sequence[_Item], sizes: Sequence[WaveSize]) -> list[Sequence[_Item]]:
    """`items` in order, cut into waves. Without sizes, or with no more items than the first takes, it is one wave."""
    if not sizes:
        return [items] if items else []
    waves: list[Sequence[_Item]] = []
    begin = 0
    while begin < len(items):
        size = sizes[min(len(waves), len(sizes) - 1)].of(len(items))
        waves.append(items[begin : begin + size])
        begin += size
    return waves


def excess(failed: int, begun: int, wave: int, waves: int, max_fail: float | None) -> str | None:
    """Why the sweep ends here, None while it may go on.

    `failed` of the `begun` hosts (those of the waves so far, the current one whole) have failed. `max_fail` is the
    share of them that may. Without one, nothing may fail in the canary, and anything later.
    """
    canary = wave == 1 and waves > 1
    if max_fail is None:
        return f"{_of(failed, begun)} of the first wave failed" if canary and failed else None
    if failed <= max_fail * begun + _ROUNDING:
        return None
    where = "of the first wave" if canary else "begun so far"
    return f"{_of(failed, begun)} {where} failed, and --max-fail is {max_fail * 100:.4g}%"


def _of(failed: int, begun: int) -> str:
    return f"{failed:,} of {plural(begun, 'host')}"
