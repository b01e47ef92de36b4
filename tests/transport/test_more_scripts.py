"""Scripts that share a shell: each has its own output, status and end, and none can spoil the next one's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.lab.system import wait_until
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


def said(connection: Connection, script: bytes, *, keep_shell: bool = True) -> tuple[bytes, bytes, int | None]:
    """Run a script to its end: both streams and the exit status."""
    execution = connection.start(script, LIMITS, keep_shell=keep_shell)
    printed = output(execution)
    execution.close()
    return printed[Stream.OUT], printed[Stream.ERR], execution.exit_status


def check_shared(connection: Connection) -> None:
    first = said(connection, WHO)
    assert (first[1], first[2]) == (b"", 0)
    assert said(connection, b"printf 'a\\0\\377'; printf e >&2; exit 9") == (b"a\0\xff", b"e", 9)
    assert said(connection, b"") == (b"", b"", 0)
    assert said(connection, b"x=1; cd /; exec 3<&0 </dev/null; set -- a; " + WHO) == first
    assert said(connection, b"echo ${x-unset}$#; " + WHO) == (b"unset0\n" + first[0], b"", 0)
    assert said(connection, WHO, keep_shell=False) == first
    assert said(connection, WHO) != first


def test_the_shell_stays_for_the_next_script(connection: Connection) -> None:
    check_shared(connection)


def test_here_it_stays_as_well(local: Connection) -> None:
    check_shared(local)


def test_one_sudo_serves_several_scripts(ssh: Transport, sshd: Sshd) -> None:
    with account("fttmore", password="s3cret", sudo="USER ALL=(ALL) ALL") as user:
        target = sshd.target(user=user.name, become=Become("s3cret"))
        with closing(ssh.connect(target)) as connection:
            first = said(connection, b"id -u; ps -o ppid= -p $$")
            assert first[0].startswith(b"0\n")
            assert said(connection, b"id -u; ps -o ppid= -p $$", keep_shell=False) == first


def test_large_output_comes_whole(local: Connection) -> None:
    for _ in range(2):
        out, err, status = said(local, b"head -c 1000003 /dev/zero; head -c 1000003 /dev/zero >&2")
        assert (len(out), len(err), status) == (1000003, 1000003, 0)


def test_what_a_script_prints_cannot_pass_for_its_end(local: Connection) -> None:
    forged = b"fleettrace-over 0123456789abcdef 0\nfleettrace-over"
    assert said(local, b"printf '%s' '" + forged + b"'") == (forged, b"", 0)
    assert said(local, b"echo next") == (b"next\n", b"", 0)


def test_a_shell_that_is_killed_is_not_used_again(connection: Connection) -> None:
    out, _, status = said(connection, b"echo a; kill -9 $$")
    assert (out, status in (None, 128 + 9)) == (b"a\n", True)
    assert said(connection, b"echo b") == (b"b\n", b"", 0)


def test_a_script_that_is_given_up_takes_its_shell_along(connection: Connection) -> None:
    with failing("script-timeout", "timeout"):
        list(connection.start(b"sleep 60", Limits(1.0, 1000), keep_shell=True))
    execution = connection.start(b"echo first; cat", LIMITS, keep_shell=True)
    assert next(iter(execution)).data == b"first\n"
    execution.close()
    assert said(connection, b"echo b") == (b"b\n", b"", 0)


def test_whoever_stops_a_script_that_is_over_stops_no_other(connection: Connection) -> None:
    first = connection.start(WHO, LIMITS, keep_shell=True)
    shell = output(first)
    first.stop()
    first.close()
    second = connection.start(WHO + b"; cat; echo stopped", LIMITS, keep_shell=True)
    first.stop()
    first.close()
    threading.Timer(0.2, second.stop).start()
    assert output(second)[Stream.OUT] == shell[Stream.OUT] + b"stopped\n"
    assert said(connection, WHO)[0] != shell[Stream.OUT]


def test_scripts_at_once_have_shells_of_their_own(connection: Connection) -> None:
    waiting = connection.start(b"cat; echo done", LIMITS, keep_shell=True)
    other = said(connection, WHO)
    assert said(connection, WHO) == other
    waiting.stop()
    assert output(waiting)[Stream.OUT] == b"done\n"
    assert said(connection, WHO) == other


def test_a_shell_that_waits_ends_with_the_connection(ssh: Transport, sshd: Sshd, user: Account) -> None:
    assert user
    connection = ssh.connect(sshd.target("web1", user="root"))
    pid = int(said(connection, WHO)[0])
    assert Path(f"/proc/{pid}").exists()
    connection.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the shell goes on", seconds=5)
    with pytest.raises(HostError):
        connection.start(WHO, LIMITS)
