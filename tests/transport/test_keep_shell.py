"""Scripts that share a kept shell: each has its own output, status and end, and leaves nothing to the next one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.lab.system import wait_until
from fleettrace.transport.collect import run_script
from fleettrace.transport.interface import Become, Connection, Limits, Stream, Target, Transport
from fleettrace.transport.local.transport import LocalTransport
from tests.transport.running import LIMITS, failing, output
from tests.transport.sshd import Account, Sshd, account

WHO = b"echo $$"


@pytest.fixture
def connection(ssh: Transport, sshd: Sshd) -> Iterator[Connection]:
    with closing(ssh.connect(sshd.target("web1", user="root"))) as made:
        yield made


@pytest.fixture
def local() -> Iterator[Connection]:
    with closing(LocalTransport().connect(Target("here"))) as made:
        yield made


def run(connection: Connection, script: bytes, *, keep_shell: bool = True) -> tuple[bytes, bytes, int | None]:
    """Run a script to its end. Return both streams and the exit status."""
    done = run_script(connection, script, LIMITS, keep_shell=keep_shell)
    return done.out, done.err, done.exit_status


def check_shared(connection: Connection) -> None:
    first = run(connection, WHO)
    assert (first[1], first[2]) == (b"", 0)
    assert run(connection, b"printf 'a\\0\\377'; printf e >&2; exit 9") == (b"a\0\xff", b"e", 9)
    assert run(connection, b"") == (b"", b"", 0)
    assert run(connection, b"x=1; cd /; exec 3<&0 </dev/null; set -- a; " + WHO) == first
    assert run(connection, b"echo ${x-unset}$#; " + WHO) == (b"unset0\n" + first[0], b"", 0)
    assert run(connection, WHO, keep_shell=False) == first
    assert run(connection, WHO) != first


def test_shell_stays_for_the_next_script(connection: Connection) -> None:
    check_shared(connection)


def test_local_shell_stays(local: Connection) -> None:
    check_shared(local)


def test_one_sudo_serves_several_scripts(ssh: Transport, sshd: Sshd) -> None:
    with account("fttmore", password="s3cret", sudo="USER ALL=(ALL) ALL") as user:
        target = sshd.target(user=user.name, become=Become(password="s3cret"))
        with closing(ssh.connect(target)) as connection:
            first = run(connection, b"id -u; ps -o ppid= -p $$")
            assert first[0].startswith(b"0\n")
            assert run(connection, b"id -u; ps -o ppid= -p $$", keep_shell=False) == first


def test_large_output_is_complete(local: Connection) -> None:
    for _ in range(2):
        out, err, status = run(local, b"head -c 1000003 /dev/zero; head -c 1000003 /dev/zero >&2")
        assert (len(out), len(err), status) == (1000003, 1000003, 0)


def test_script_cannot_forge_its_end(local: Connection) -> None:
    forged = b"fleettrace-over 0123456789abcdef 0\nfleettrace-over"
    assert run(local, b"printf '%s' '" + forged + b"'") == (forged, b"", 0)
    assert run(local, b"echo next") == (b"next\n", b"", 0)


def test_killed_shell_is_not_used_again(connection: Connection) -> None:
    out, _, status = run(connection, b"echo a; kill -9 $$")
    assert (out, status in (None, 128 + 9)) == (b"a\n", True)
    assert run(connection, b"echo b") == (b"b\n", b"", 0)


def test_ended_script_takes_its_shell_along(connection: Connection) -> None:
    with failing("script-timeout", "timeout"):
        list(connection.start(b"sleep 60", Limits(1.0, 1000), keep_shell=True))
    execution = connection.start(b"echo first; cat", LIMITS, keep_shell=True)
    assert next(iter(execution)).data == b"first\n"
    execution.close()
    assert run(connection, b"echo b") == (b"b\n", b"", 0)


def test_stopping_an_ended_script_stops_no_other(connection: Connection) -> None:
    first = connection.start(WHO, LIMITS, keep_shell=True)
    shell = output(first)
    first.stop()
    first.close()
    second = connection.start(WHO + b"; cat; echo stopped", LIMITS, keep_shell=True)
    first.stop()
    first.close()
    threading.Timer(0.2, second.stop).start()
    assert output(second)[Stream.OUT] == shell[Stream.OUT] + b"stopped\n"
    assert run(connection, WHO)[0] != shell[Stream.OUT]


def test_concurrent_scripts_have_separate_shells(connection: Connection) -> None:
    waiting = connection.start(b"cat; echo done", LIMITS, keep_shell=True)
    other = run(connection, WHO)
    assert run(connection, WHO) == other
    waiting.stop()
    assert output(waiting)[Stream.OUT] == b"done\n"
    assert run(connection, WHO) == other


def test_waiting_shell_ends_with_the_connection(ssh: Transport, sshd: Sshd, user: Account) -> None:
    assert user
    connection = ssh.connect(sshd.target("web1", user="root"))
    pid = int(run(connection, WHO)[0])
    assert Path(f"/proc/{pid}").exists()
    connection.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the shell still runs", seconds=5)
    with pytest.raises(HostError):
        connection.start(WHO, LIMITS)
