"""Broken and hostile files end in a value or in `BinaryError`."""

from __future__ import annotations

import json
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError
from fleettrace.binary.symbols import function_symbols
from tests.binary.builds import build
from tests.binary.fuzz_elf import structures


@cache
def sample() -> bytes:
    return build("plain").read_bytes()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_mutated_binary_is_analysed_or_refused(data: st.DataObject) -> None:
    mutated = bytearray(sample())
    parts = structures(sample())
    for _ in range(data.draw(st.integers(1, 6))):
        start, size = data.draw(st.sampled_from(parts))
        position = data.draw(st.integers(start, max(start, start + size - 8)))
        patch = data.draw(st.binary(min_size=1, max_size=8))
        mutated[position : position + len(patch)] = patch
    try:
        analysis = analyse(bytes(mutated))
    except BinaryError as error:
        assert "\n" not in str(error)
    else:
        assert BinaryAnalysis.from_dict(json.loads(json.dumps(analysis.to_dict()))) == analysis


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1 << 20))
def test_a_binary_cut_short_is_analysed_or_refused(length: int) -> None:
    try:
        analyse(sample()[:length])
    except BinaryError as error:
        assert "\n" not in str(error)


def test_sample_has_symbols() -> None:
    from fleettrace.binary.elf import parse

    assert len(function_symbols(parse(sample()))) > 100
