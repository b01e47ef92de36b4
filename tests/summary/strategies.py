"""Hypothesis strategies for summaries with known and unknown values."""

from __future__ import annotations

from hypothesis import strategies as st

from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key

__all__ = ["key_counts", "keys", "summaries"]

_small = st.integers(0, 50)
keys = st.sampled_from([Key.whole(b"a"), Key.whole(b"b"), Key.whole(b"c"), Key(b"a", 9), Key.whole(b"\xff\x00")])
_timelines = st.lists(_small, max_size=4)

key_counts = st.builds(
    KeyCount,
    requests=st.integers(1, 50),
    covered=_small,
    ops=st.none() | st.dictionaries(st.sampled_from(["get", "set"]), _small, max_size=2),
    misses=st.none() | _small,
    value_bytes=st.none() | _small,
    timeline=_timelines,
)

summaries = st.builds(
    Summary, total=_small, absent=_small, keys=st.dictionaries(keys, key_counts, max_size=3), timeline=_timelines
)
