"""Split a fleet among controllers: `3/16` is the third of sixteen parts, the same on every machine and in every run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from fleettrace.errors import ConfigError
from fleettrace.inventory.model import Host

__all__ = ["stable_shard"]

_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


def stable_shard(hosts: Iterable[Host], shard: str) -> tuple[Host, ...]:
    """Return the hosts of part K of N, for `shard` = "K/N" with K from 1 to N, in the order of `hosts`.

    A host's part depends on its name and N alone (SHA-256), so adding or removing hosts moves no other host. Raises
    `ConfigError` if `shard` does not have that form.
    """
    match = _SHARD.fullmatch(shard)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(f"--shard {shard!r}: expected K/N with K from 1 to N, such as 3/16")
    return tuple(host for host in hosts if _bucket(host.name, parts) == part - 1)


def _bucket(name: str, parts: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest(), "big") % parts
