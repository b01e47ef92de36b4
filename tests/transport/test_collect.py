"""`run_script`: both streams, the exit status, the duration and the errors of one script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Connection, Limits, Target
from fleettrace.transport.local.transport import LocalTransport
from tests.transport.running import LIMITS, failing


@pytest.fixture
def local() -> Iterator[Connection]:
    with closing(LocalTransport().connect(Target("here"))) as connection:
        yield connection


def test_returns_both_streams_and_the_exit_status(local: Connection) -> None:
    output = run_script(local, b"printf 'a\\0\\377'; printf e >&2; exit 9", LIMITS)
    assert (output.out, output.err, output.exit_status) == (b"a\0\xff", b"e", 9)


def test_collects_output_larger_than_a_chunk(local: Connection) -> None:
    output = run_script(local, b"head -c 1000003 /dev/zero; head -c 1000003 /dev/zero >&2", LIMITS)
    assert (len(output.out), len(output.err)) == (1000003, 1000003)


def test_measures_the_duration(local: Connection) -> None:
    assert run_script(local, b"sleep 0.2", LIMITS).seconds >= 0.2


def test_reports_no_exit_status_after_a_signal(local: Connection) -> None:
    assert run_script(local, b"kill -9 $$", LIMITS).exit_status is None


def test_keeps_the_shell_on_request(local: Connection) -> None:
    first = run_script(local, b"echo $$", LIMITS, keep_shell=True).out
    assert run_script(local, b"echo $$", LIMITS).out == first
    assert run_script(local, b"echo $$", LIMITS).out != first


def test_raises_when_a_limit_is_exceeded(local: Connection) -> None:
    with failing("output-limit", "trace-failed"):
        run_script(local, b"yes", Limits(30, 100_000))
    with failing("script-timeout", "timeout"):
        run_script(local, b"sleep 60", Limits(0.3, 1000))
