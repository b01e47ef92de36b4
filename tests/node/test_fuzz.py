"""A few cases of the fuzzing that `make fuzz` does for as long as one likes."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import HostError
from fleettrace.node.discovery import parse_discovery
from fleettrace.node.plausible import MAX_INSTANCES
from tests.node import fuzz_reports
from tests.node.bpftrace_text import LAYOUTS, NONCE, Printed, entry_of, render
from tests.node.fuzz_output import one, parsed
from tests.node.reports import LAYOUT, node


def test_some_hundred_cases_find_nothing() -> None:
    assert {one(random.Random(f"7:{number}")) for number in range(300)} == {"sound", "broken off", "mutated"}


def test_output_means_the_same_however_it_is_cut() -> None:
    """Two faults were found so: a slice without a process, and a sign of the program's that came in halves."""
    assert {one(random.Random(f"{seed}:{number}")) for seed in (11, 31) for number in range(150)} >= {"mutated"}


def test_some_reports_find_nothing() -> None:
    assert {fuzz_reports.one(random.Random(f"7:{number}")) for number in range(20)} == {
        "discovery",
        "trace",
        "growing",
    }


def test_split_marker_is_recognized() -> None:
    """A regression: the parser took the possible length of an item from its received part."""
    layout, nonce = LAYOUTS[0], NONCE.encode()
    whole = render([Printed("a", 5, {7: 4}, [entry_of(7, 0, b"k" * 90, 3), entry_of(7, 0, b"x", 1)])], *layout)
    broken = whole.replace(b"]: 3\n", b"@a_%b[9, #%b slice b 6\n@now_%b: 7\n" % (nonce, nonce, nonce), 1)
    for text in (whole, broken):
        assert all(parsed(text, layout, [cut]) == parsed(text, layout, []) for cut in range(len(text)))


INPUT = st.lists(st.one_of(st.sampled_from(fuzz_reports.PIECES), st.binary(max_size=40)), max_size=60)


@settings(max_examples=100, deadline=None)
@given(INPUT)
def test_discovery_is_parsed_or_refused(pieces: list[bytes]) -> None:
    try:
        found = parse_discovery(node({}).removesuffix(b"end\0001\0") + b"".join(pieces) + b"end\0001\0")
    except HostError as error:
        assert error.code in fuzz_reports.CODES
        assert len(error.message) < 600
    else:
        assert len({each.pid for each in found.instances}) == len(found.instances) <= MAX_INSTANCES


@settings(max_examples=100, deadline=None)
@given(INPUT, st.lists(st.integers(0, 1000), max_size=4))
def test_parser_result_does_not_depend_on_chunks(pieces: list[bytes], cuts: list[int]) -> None:
    text = b"".join(pieces)
    layout = (LAYOUT.piece, LAYOUT.pieces)
    assert parsed(text, layout, [cut for cut in cuts if cut < len(text)]) == parsed(text, layout, [])


@settings(max_examples=5, deadline=None)
@given(st.lists(st.sampled_from(fuzz_reports.PIECES), min_size=1, max_size=3), st.sampled_from(fuzz_reports.READERS))
def test_parsing_takes_linear_time_and_memory(pieces: list[bytes], read: Callable[[bytes], None]) -> None:
    unit = b"".join(pieces)
    small = unit * (fuzz_reports.GROWS // len(unit))
    fuzz_reports.grows_linearly(read, small, small * 2)
