"""memcached is asked about keys after the window; each thing that it cannot answer has a reason of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN, read_stats
from fleettrace.lab.system import wait_until
from fleettrace.node.items import Question, ask_items, ask_items_of_port, facts_of, gap_of
from fleettrace.node.model import Endpoint, Instance, NodeBinary
from fleettrace.summary.items import NEVER, ItemFacts, ItemGap
from fleettrace.summary.key import Key
from fleettrace.transport.endpoint.port import MemcachedPort
from fleettrace.transport.interface import Connection
from tests.e2e.local import ADDRESS, answers, free_port

pytestmark = pytest.mark.lab

HOSTILE = b"k'$(id)`id`\"\\n%s%n\xff;\x7e"


def instance(pid: int, *, proxy: bool = False) -> Instance:
    return Instance(pid, 1, NodeBinary("1:1", 1, None), b"/usr/bin/memcached", None, (), None, proxy=proxy)


@contextmanager
def running(*options: str, ready: bool = True) -> Iterator[tuple[int, int]]:
    """Run Debian's memcached with options; yield its pid and port."""
    port = free_port()
    arguments = [str(DEBIAN), "-u", "nobody", "-l", ADDRESS, "-p", str(port), *options]
    server = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if ready:
            wait_until(lambda: answers(port), "memcached does not start")
        yield server.pid, port
    finally:
        server.kill()
        server.wait()


def store(port: int, key: bytes, value: bytes, ttl: int = 0, flags: int = 0) -> None:
    with socket.create_connection((ADDRESS, port)) as client:
        client.sendall(b"set %b %d %d %d\r\n%b\r\n" % (key, flags, ttl, len(value), value))
        assert client.recv(64) == b"STORED\r\n"


def asked(here: Connection, pid: int, port: int | None, *keys: bytes, proxy: bool = False) -> dict[bytes, ItemFacts]:
    endpoint = None if port is None else Endpoint(ADDRESS, port)
    question = Question(instance(pid, proxy=proxy), endpoint, tuple(map(Key.whole, keys)))
    return {key.data: facts for key, facts in ask_items(here, "", [question])[pid].items()}


def test_size_is_that_of_the_value(here: Connection) -> None:
    with running() as (pid, port):
        for key, size in ((b"a", 1), (b"big", 90_000), (HOSTILE, 77), (b"x" * 250, 500_000)):
            store(port, key, b"v" * size)
        found = asked(here, pid, port, b"a", b"big", HOSTILE, b"x" * 250)
        assert [facts.size for facts in found.values()] == [1, 90_000, 77, 500_000]
        assert all(facts.ttl_s == NEVER and facts.fetched is False for facts in found.values())


def test_size_without_cas_ids(here: Connection) -> None:
    with running("-C") as (pid, port):
        store(port, b"k", b"v" * 100)
        assert asked(here, pid, port, b"k")[b"k"].size == 100


def test_client_flags_count_as_four_bytes(here: Connection) -> None:
    with running() as (pid, port):
        store(port, b"k", b"v" * 100, flags=5)
        assert asked(here, pid, port, b"k")[b"k"].size == 104


def test_time_to_live_is_in_seconds(here: Connection) -> None:
    with running() as (pid, port):
        store(port, b"k", b"v", ttl=100)
        began = time.monotonic()
        time.sleep(1.5)
        facts = asked(here, pid, port, b"k")[b"k"]
        assert facts.ttl_s is not None
        assert 0 <= 100 - facts.ttl_s - int(time.monotonic() - began) <= 1


def test_asking_neither_fetches_nor_counts(here: Connection) -> None:
    with running() as (pid, port):
        store(port, b"k", b"v")
        before = counters(port)
        for _ in range(3):
            assert asked(here, pid, port, b"k", b"gone")[b"k"].fetched is False
        assert counters(port) == before


def counters(port: int) -> dict[str, str]:
    counted = re.compile("cmd_get|cmd_touch|get_hits|get_misses|lru_bumps_dropped|moves_to_warm")
    return {name: value for name, value in read_stats(ADDRESS, port).items() if counted.fullmatch(name)}


def test_absent_and_unaskable_keys_have_reasons(here: Connection) -> None:
    with running() as (pid, port):
        store(port, b"k", b"v")
        found = asked(here, pid, port, b"gone", b"k", b"with space", b"new\r\nflush_all\r\n")
        assert [facts.gap for facts in found.values()] == [
            ItemGap.ABSENT,
            None,
            ItemGap.UNASKABLE,
            ItemGap.UNASKABLE,
        ]
        assert asked(here, pid, port, b"k")[b"k"].size == 1


def test_expired_item_is_absent(here: Connection) -> None:
    with running() as (pid, port):
        store(port, b"k", b"v", ttl=1)
        wait_until(lambda: asked(here, pid, port, b"k")[b"k"].gap is ItemGap.ABSENT, "the item does not expire")


def test_password_is_a_reason(here: Connection, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("user:word\n")
    for place in (tmp_path, *tmp_path.parents):
        with suppress(OSError):
            place.chmod(place.stat().st_mode | 0o011)
    users.chmod(0o644)
    with running("-Y", str(users), "-u", "root", ready=False) as (pid, port):
        wait_until(lambda: listening(port), "memcached does not start")
        assert asked(here, pid, port, b"k")[b"k"].gap is ItemGap.AUTH_FILE
        assert asked(here, pid, None, b"k")[b"k"].gap is ItemGap.AUTH_FILE


def listening(port: int) -> bool:
    with suppress(OSError), socket.create_connection((ADDRESS, port), 1):
        return True
    return False


@contextmanager
def behind_socket(path: Path, *options: str, cwd: Path | None = None) -> Iterator[int]:
    server = subprocess.Popen([DEBIAN, "-u", "root", *(options or ("-s", str(path)))], cwd=cwd)
    try:
        wait_until(path.exists, "memcached does not start")
        yield server.pid
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("form", ["-s {}", "-s{}", "--unix-socket={}"])
def test_unix_socket_is_asked(here: Connection, tmp_path: Path, form: str) -> None:
    path = tmp_path / "it's"
    with behind_socket(path, *form.format(path).split(" ", 1)) as pid, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"set k 0 0 5\r\nvalue\r\n")
        assert client.recv(64) == b"STORED\r\n"
        assert asked(here, pid, None, b"k")[b"k"].size == 5


def test_relative_unix_socket_is_asked(here: Connection, tmp_path: Path) -> None:
    with behind_socket(tmp_path / "s", "-s", "s", cwd=tmp_path) as pid:
        assert asked(here, pid, None, b"k")[b"k"].gap is ItemGap.ABSENT


def test_socket_of_another_process_gets_nothing(here: Connection, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with behind_socket(path) as pid, socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
        other.listen()
        assert asked(here, pid, None, b"k")[b"k"].gap is ItemGap.UNIX
        client, _ = other.accept()
        with client:
            assert client.recv(64) == b""


@pytest.mark.parametrize(
    ("arguments", "gap"),
    [
        ("-Z -o ssl_chain_cert=x", ItemGap.TLS),
        ("--enable-ssl", ItemGap.TLS),
        ("-S -m 64", ItemGap.SASL),
        ("-vS", ItemGap.NO_ANSWER),
        ("--auth-file=/x", ItemGap.AUTH_FILE),
        ("-B binary", ItemGap.BINARY),
        ("--protocol=binary", ItemGap.BINARY),
        ("-B ascii", ItemGap.NO_ANSWER),
        ("-s /run/m.sock", ItemGap.UNIX),
        ("-m 64", ItemGap.NO_ANSWER),
        ("", ItemGap.NO_ANSWER),
    ],
)
def test_command_line_explains_silence(arguments: str, gap: ItemGap) -> None:
    assert gap_of([b"memcached", *arguments.encode().split()]) is gap


def test_proxy_is_not_asked(here: Connection) -> None:
    assert asked(here, os.getpid(), 1, b"k", proxy=True)[b"k"].gap is ItemGap.PROXY


def answered(lines: Sequence[bytes], *keys: bytes) -> list[ItemFacts]:
    return list(facts_of(tuple(map(Key.whole, keys)), lines, None).values())


def test_old_version_is_a_reason() -> None:
    assert answered([b"ERROR\r", b"VERSION 1.4.39\r"], b"k")[0].gap is ItemGap.OLD


@pytest.mark.parametrize("fetch", [True, False])
def test_old_version_is_fetched_from_on_request(here: Connection, fetch: bool) -> None:
    values = {b"a": 1, b"big": 300_000, b"lines": 40}
    with socket.create_server((ADDRESS, 0)) as listener:
        threading.Thread(target=old_memcached, args=(listener, values), daemon=True).start()
        question = Question(
            instance(os.getpid()),
            Endpoint(ADDRESS, listener.getsockname()[1]),
            tuple(map(Key.whole, (*values, b"gone"))),
        )
        found = ask_items(here, "", [question], fetch=fetch)[os.getpid()].values()
    if fetch:
        assert [facts.size for facts in found] == [1, 300_000, 40, None]
        assert [facts.gap for facts in found] == [None, None, None, ItemGap.ABSENT]
    else:
        assert {facts.gap for facts in found} == {ItemGap.OLD}


def old_memcached(listener: socket.socket, values: dict[bytes, int]) -> None:
    """Answer like a memcached that knows `get` and `quit` only, with values full of line ends."""
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client, client.makefile("rb") as lines:
                for line in lines:
                    verb, _, key = line.rstrip().partition(b" ")
                    if verb == b"quit":
                        break
                    if verb == b"version":
                        client.sendall(b"VERSION 1.4.39\r\n")
                        continue
                    if verb != b"get":
                        client.sendall(b"ERROR\r\n")
                        continue
                    if key in values:
                        value = (b"\r\nVALUE gone 0 9\r\n" * values[key])[: values[key]]
                        client.sendall(b"VALUE %b 0 %d\r\n%b\r\n" % (key, len(value), value))
                    client.sendall(b"END\r\n")


def test_answer_of_each_format_is_read() -> None:
    line = b"ME k exp=-300 la=7 cas=5 fetch=yes cls=3 size=165\r"
    expected = ItemFacts(105, 300, 7, 3, True)
    assert answered([line, b"EN\r", b"VERSION 1.6.18\r"], b"k") == [expected]
    assert answered([line.replace(b"-300", b"300"), b"VERSION 1.6.18\r"], b"k") == [expected]


@pytest.mark.parametrize(
    "lines",
    [
        [b"ME other exp=1 la=1 cas=1 fetch=yes cls=1 size=100\r", b"VERSION 1.6.18\r"],
        [b"ME k exp=1 la=1 cas=1 fetch=yes cls=1 size=1\r", b"VERSION 1.6.18\r"],
        [b"ME k exp=1 la=1 cas=1 fetch=yes cls=1 size=99999999999\r", b"VERSION 1.6.18\r"],
        [b"ME k exp=99999999999 la=1 cas=1 fetch=yes cls=1 size=100\r", b"VERSION 1.6.18\r"],
        [b"ME k exp=1 la=1 cas=1 fetch=perhaps cls=1 size=100\r", b"VERSION 1.6.18\r"],
        [b"ME", b"VERSION 1.6.18\r"],
    ],
)
def test_lies_are_not_facts(lines: list[bytes]) -> None:
    assert answered(lines, b"k")[0].gap is ItemGap.ABSENT


def test_broken_answer_proves_no_absence() -> None:
    assert answered([b"ME k exp=-1 la=1 cas=1 fetch=yes cls=1 size=100\r"], b"k", b"l")[1].gap is ItemGap.NO_ANSWER
    assert answered([], b"k")[0].gap is ItemGap.NO_ANSWER


@pytest.mark.parametrize("behaviour", ["silent", "flood", "drip", "close"])
def test_hostile_server_is_bounded(here: Connection, behaviour: str) -> None:
    with socket.create_server((ADDRESS, 0)) as listener:
        threading.Thread(target=misbehave, args=(listener, behaviour), daemon=True).start()
        began = time.monotonic()
        found = asked(here, os.getpid(), listener.getsockname()[1], b"k")
        assert found[b"k"].gap is ItemGap.NO_ANSWER
        assert time.monotonic() - began < 5


def misbehave(listener: socket.socket, behaviour: str) -> None:
    with suppress(OSError):
        client, _ = listener.accept()
        with client:
            while behaviour == "flood":
                client.sendall(b"ME x\0" * 10_000)
            while behaviour == "drip":
                client.sendall(b"M")
                time.sleep(0.1)
            while behaviour == "silent" and client.recv(1000):
                pass


@pytest.mark.parametrize(
    ("answer", "gap"),
    [
        (b"EN\r\nVERSION 1.6.18\r\n", ItemGap.ABSENT),
        (b"ERROR\r\nVERSION 1.4.25\r\n", ItemGap.OLD),
        (b"x" * 5000, ItemGap.NO_ANSWER),
    ],
)
def test_port_without_an_answer_has_a_reason(answer: bytes, gap: ItemGap) -> None:
    ours, theirs = socket.socketpair()
    key = Key.whole(b"a")
    with ours, theirs:
        theirs.sendall(answer)
        assert ask_items_of_port(MemcachedPort(ours), [key]) == {key: ItemFacts(gap=gap)}
