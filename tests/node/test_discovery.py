"""A node's report is used completely or not at all."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.errors import HostError, HostState
from fleettrace.node.discovery import discover, discovery_script, parse_discovery, set_arguments
from fleettrace.transport.interface import Target
from fleettrace.transport.local.transport import LocalTransport
from tests.node.ran import ran


@pytest.fixture(scope="module")
def report() -> bytes:
    """Return the script's report of this machine, run as the user of the tests."""
    script = discovery_script(["echo", "bpftrace v0.19.1-17-g2b5f"], "netns")
    return ran(["sh"], script).stdout


def test_this_machine_is_understood(report: bytes) -> None:
    facts = parse_discovery(report).facts
    assert str(facts.bpftrace) == "0.19.1"
    assert facts.possible_cpus > 0


@given(st.data())
def test_incomplete_report_fails_the_host(report: bytes, data: st.DataObject) -> None:
    with pytest.raises(HostError) as caught:
        parse_discovery(report[: data.draw(st.integers(0, len(report) - 1))])
    assert (caught.value.state, caught.value.code) == (HostState.TRACE_FAILED, "discovery-garbled")


@given(st.binary() | st.lists(st.sampled_from([b"process", b"binary", b"end", b"\0", b"x", b"1"])).map(b"".join))
def test_any_other_report_fails_the_host(report: bytes) -> None:
    with pytest.raises(HostError):
        parse_discovery(report)


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_set_arguments_quotes_every_argument(words: list[str]) -> None:
    script = set_arguments(words) + "printf '%s\\0' \"$@\""
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_a_connection_is_all_it_takes() -> None:
    connection = LocalTransport().connect(Target("here"))
    try:
        facts = discover(connection, ["echo", "bpftrace v0.21.2"], "netns").facts
    finally:
        connection.close()
    assert str(facts.bpftrace) == "0.21.2"
