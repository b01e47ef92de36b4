"""Scripts over connections that return all output at once have the same errors, and bounds on the node."""

from __future__ import annotations

import subprocess

import pytest

from fleettrace.app.ansible.one_shot import OneShotTransport
from fleettrace.transport.interface import Connection, Limits, Stream, Target
from tests.transport.running import failing, output

LIMITS = Limits(seconds=20, max_bytes=1 << 20)


def shell(command: str, data: bytes) -> tuple[int, bytes, bytes]:
    done = subprocess.run(["sh", "-c", command], input=data, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def connection() -> Connection:
    return OneShotTransport(shell, become=False).connect(Target("web1"))


def test_output_is_bytes_with_the_scripts_status(connection: Connection) -> None:
    execution = connection.start(b"printf 'a\\0\\377\\r\\n\\n'; printf 'e\\0' >&2; exit 9", LIMITS)
    assert output(execution) == {Stream.OUT: b"a\0\xff\r\n\n", Stream.ERR: b"e\0"}
    assert execution.exit_status == 9


def test_stdin_stays_open_while_the_script_runs(connection: Connection) -> None:
    watching = b"exec 3<&0; { read -r _ <&3; echo over; } & sleep 0.5; kill $!; wait; echo done"
    assert output(connection.start(watching, LIMITS))[Stream.OUT] == b"done\n"


def test_chunks_are_small_and_complete(connection: Connection) -> None:
    script = b"head -c 500003 /dev/zero & head -c 500003 /dev/zero >&2; wait"
    chunks = list(connection.start(script, LIMITS))
    assert max(len(chunk.data) for chunk in chunks) <= 32 * 1024
    assert {stream: len(data) for stream, data in output(chunks).items()} == {Stream.OUT: 500003, Stream.ERR: 500003}


@pytest.mark.parametrize("flood", [b"yes", b"yes >&2"])
def test_output_limit_ends_the_script_on_the_node(connection: Connection, flood: bytes) -> None:
    printed = 0
    with failing("output-limit", "trace-failed"):
        for chunk in connection.start(flood, Limits(20, 100_000)):
            printed += len(chunk.data)
    assert printed == 100_000


def test_time_limit_ends_the_script_on_the_node(connection: Connection) -> None:
    chunks = iter(connection.start(b"echo first; sleep 60", Limits(1, 1000)))
    assert next(chunks).data == b"first\n"
    with failing("script-timeout", "timeout"):
        next(chunks)


def test_signal_status_of_a_script_is_its_own(connection: Connection) -> None:
    execution = connection.start(b"sleep 9 & kill $!; wait $!", LIMITS)
    assert output(execution)[Stream.OUT] == b""
    assert execution.exit_status == 128 + 15


def test_failed_become_has_its_code() -> None:
    def refused(_command: str, _data: bytes) -> tuple[int, bytes, bytes]:
        return 1, b"", b"sudo: a password is required\n"

    transport = OneShotTransport(refused, become=True)
    with failing("become-password-required", "become-failed"):
        transport.connect(Target("web1")).start(b"true", LIMITS)
