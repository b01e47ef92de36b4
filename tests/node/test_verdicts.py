"""What a bpftrace prints that loads a program gives its verdict; warnings and binary data are no reason."""

from __future__ import annotations

import random

import pytest

from fleettrace.node.loading import LoadVerdict, verdict_of

GARBAGE = random.Random(1).randbytes(65536)
WARNING = b"stdin:1:1-10: WARNING: something deprecated\n"


@pytest.mark.parametrize("words", [b"", WARNING, GARBAGE, b"Attaching 6 probes...\n", b"warning: an ERROR is near\n"])
def test_no_error_reports_status_and_command(words: bytes) -> None:
    load = verdict_of(words + b"\nstatus 1\n", ["sudo", "bpftrace"])
    assert load.verdict is LoadVerdict.FAILED
    assert load.reason.startswith("it printed no error; exit status 1; run `sudo bpftrace -e ")


def test_an_error_among_warnings_is_the_reason() -> None:
    load = verdict_of(WARNING + b"ERROR: no such luck\n" + GARBAGE + b"\nstatus 1\n")
    assert load.reason == "ERROR: no such luck"


def test_an_expired_bound_is_a_slow_start() -> None:
    assert verdict_of(WARNING + b"\nstatus 124\n").code == "slow-start"


def test_a_kill_is_no_slow_start() -> None:
    assert verdict_of(b"\nstatus 137\n").code == ""
