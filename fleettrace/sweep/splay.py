"""`--splay`: a wait before a run, so that the controllers of a site do not all begin at the full hour.

Drawn once for each machine, inventory and name, as systemd's RandomizedDelaySec with FixedRandomDelay is: a run that is
scheduled every fifteen minutes stays fifteen minutes apart from the one before.
"""

from __future__ import annotations

import hashlib

__all__ = ["splay_s"]


def splay_s(longest_s: float, *whose: str) -> float:
    """Seconds to wait, from 0 to less than `longest_s`: always the same for the same words."""
    digest = hashlib.blake2b("\0".join(whose).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return longest_s * int.from_bytes(digest) / 2**64
