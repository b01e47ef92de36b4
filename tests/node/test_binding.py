"""Before a probe is attached, the node compares the code at the place where bpftrace puts it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.elf import BinaryError, parse
from fleettrace.binary.stored import check_stored
from fleettrace.node.binding import target_lines
from fleettrace.node.model import Instance, NodeBinary
from fleettrace.node.scripts import script_text
from fleettrace.probes.model import ProbeOptions, ProbePlan
from fleettrace.probes.selection import choose
from tests.binary.builds import CI_BUILDS, build, stripped
from tests.binary.traffic import memcached
from tests.node.ran import ran

SHELLS = (["dash"], ["bash"], ["busybox", "ash"])
OPTIONS = ProbeOptions(misses=True, sizes=True)


def line_of(plan: ProbePlan, pid: int, data: bytes, digest: str | None) -> str:
    binary = NodeBinary("1:1", len(data), digest)
    return target_lines([[(Instance(pid, 5, binary, b"/usr/bin/memcached", None, (), None), plan)]])


def compared(plan: ProbePlan) -> list[tuple[int, bytes]]:
    pieces = (piece.partition(":") for piece in line_of(plan, 1, b"", None).split(" ")[3].split(","))
    return [(int(offset), bytes.fromhex(code)) for offset, _, code in pieces]


def matches(plan: ProbePlan, data: bytes) -> bool:
    return all(offset >= 0 and data[offset : offset + len(code)] == code for offset, code in compared(plan))


@cache
def analysed(path: Path) -> BinaryAnalysis:
    return analyse(path.read_bytes())


def shifted(path: Path, numbers: Sequence[str], shift: int) -> BinaryAnalysis:
    """An analysis with the same shift in these numbers, everywhere."""
    fields = copy.deepcopy(analysed(path).to_dict())
    places = [place for point in fields["functions"] for place in (point, point["entry"], point["cheapest"])]
    for place in [*places, *(fields["exit"] or {"instructions": []})["instructions"]]:
        for name in numbers:
            if name in place:
                place[name] += shift
    return BinaryAnalysis.from_dict(fields)


@pytest.mark.parametrize("overlay", [True, False])
@pytest.mark.parametrize("name", CI_BUILDS)
def test_the_analysed_binary_has_the_code(name: str, overlay: bool) -> None:
    for path in (build(name), stripped(name)):
        assert matches(choose(analysed(path), OPTIONS, overlay_works=overlay), path.read_bytes())


def test_more_than_the_probed_instruction_is_compared() -> None:
    assert all(len(code) > 32 for _, code in compared(choose(analysed(stripped("plain")), OPTIONS)))


SHIFTS = st.integers(-64, 64).filter(bool) | st.integers(1, 2**20)


@settings(deadline=None, max_examples=100)
@given(
    name=st.sampled_from(CI_BUILDS), numbers=st.sampled_from([("address",), ("address", "file_offset")]), shift=SHIFTS
)
def test_overlay_with_shifted_address_does_not_match(name: str, numbers: Sequence[str], shift: int) -> None:
    plan = choose(shifted(stripped(name), numbers, shift), OPTIONS, overlay_works=True)
    assert plan.overlay is None or not matches(plan, stripped(name).read_bytes())


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(CI_BUILDS),
    numbers=st.sets(st.sampled_from(["address", "file_offset", "offset"]), min_size=1),
    shift=SHIFTS,
    overlay=st.booleans(),
)
def test_no_shift_passes_check_and_comparison(name: str, numbers: set[str], shift: int, overlay: bool) -> None:
    analysis = shifted(stripped(name), sorted(numbers), shift)
    with suppress(BinaryError):
        check_stored(analysis)
        plan = choose(analysis, OPTIONS, overlay_works=overlay)
        assert not plan.instructions or not matches(plan, stripped(name).read_bytes())


@settings(deadline=None, max_examples=100)
@given(name=st.sampled_from(CI_BUILDS), shift=st.integers(-64, 64).filter(bool))
def test_shifted_bare_number_does_not_match(name: str, shift: int) -> None:
    plan = choose(shifted(stripped(name), ("address", "file_offset"), shift), OPTIONS, overlay_works=False)
    assert not plan.instructions or not matches(plan, stripped(name).read_bytes())


def bound(shell: Sequence[str], binary: Path, plan: ProbePlan, *, hashed: bool) -> bytes:
    """Return what the node prints of a trace that it binds to `binary`."""
    data = binary.read_bytes()
    with memcached(binary) as (pid, _):
        line = line_of(plan, pid, data, sha256(data).hexdigest() if hashed else None)
        parts = script_text("identity.sh", "abandoned.sh", "binding.sh") + "release\n"
        return ran(shell, f"detached=no\nunstoppable=no\nprogram=\nsites='{line}'\n{parts}".encode()).stdout


@pytest.mark.lab
@pytest.mark.parametrize("hashed", [True, False], ids=["hash", "no-hash"])
@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[-1])
def test_shifted_analysis_is_refused_despite_matching_hash(shell: Sequence[str], hashed: bool) -> None:
    binary = stripped("plain")
    assert b"held" in bound(shell, binary, choose(analysed(binary), OPTIONS), hashed=hashed)
    for numbers in (("address",), ("address", "file_offset")):
        report = bound(shell, binary, choose(shifted(binary, numbers, 10), OPTIONS), hashed=hashed)
        assert b"held" not in report
        assert b"code-mismatch" in report


@pytest.mark.lab
@pytest.mark.parametrize("name", ["lld-bare", "no-pie-bare"])
def test_code_is_compared_where_the_headers_lead(name: str) -> None:
    data = stripped(name).read_bytes()
    plan = choose(analysed(stripped(name)), OPTIONS)
    assert plan.overlay is not None
    assert plan.instructions[0].address != plan.instructions[0].file_offset
    begin = plan.instructions[0].address - plan.instructions[0].offset
    assert parse(data).offset_of(begin) in [offset for offset, _ in compared(plan)]
    assert b"held" in bound(["sh"], stripped(name), plan, hashed=True)
