"""The stats of real memcached processes equal what a client did, without what fleettrace itself adds."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.system import wait_until
from fleettrace.node.host_counters import host_stats
from fleettrace.node.request_rates import assignments
from fleettrace.node.samples import SampleReader, in_order
from fleettrace.summary.host_stats import HostStats
from fleettrace.transport.interface import Connection, Limits

pytestmark = pytest.mark.lab

AROUND = """
exec 3<&0 </dev/null
look 1000 2000
while [ -e "$flag" ]; do sleep 0.1; done
sleep 0.3
kill $lookers
ended=$lookers
look 1 100
lookers="$ended $lookers"
gather 4
"""
"""A trace's way to sample: until the file $flag is removed and a little longer, and once at the end."""
VALUE = b"x" * 1000


class Memcached:
    """A real memcached, and the bytes that clients sent to it and received from it."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port, self.sent, self.received = pid, port, 0, 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, client: socket.socket, request: bytes, end: bytes) -> None:
        client.sendall(request)
        self.sent += len(request)
        answer = b""
        while not answer.endswith(end):
            answer += client.recv(65536)
        self.received += len(answer)


@contextmanager
def memcached(*options: str) -> Iterator[Memcached]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([str(DEBIAN), "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-t", "2", *options])
    made = Memcached(server.pid, port)
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "memcached does not listen")
        yield made
    finally:
        server.kill()
        server.wait()


@contextmanager
def sampled(here: Connection, server: Memcached, shell: str = "perl") -> Iterator[list[HostStats]]:
    """Sample while the body runs, and yield a list that gets the stats after it."""
    with NamedTemporaryFile(delete=False) as flag:
        script = f"flag={flag.name}\n" + assignments("0.1 1 100 0", f"- {server.pid}/127.0.0.1/{server.port}")
    for better in ("perl", "bash", "sh")[: ("perl", "bash", "sh").index(shell)]:
        script = script.replace(f"command -v {better} ", "false ")
    script = script.replace("my ($patience, $most) = (300, 4000);", "my ($patience, $most) = (0, 4000);")
    execution = here.start((script + AROUND).encode(), Limits(seconds=30, max_bytes=1 << 20))
    reader, result = SampleReader(), list[HostStats]()
    chunks = iter(execution)
    while not reader.classes:
        reader.feed(next(chunks).data)
    yield result
    Path(flag.name).unlink()
    for chunk in chunks:
        reader.feed(chunk.data)
    own = in_order(reader.samples, server.pid)
    result.append(host_stats(own, reader.classes.get(server.pid, ()), own[0].ns, own[-1].ns))


@pytest.mark.parametrize("shell", ["perl", "bash", "sh"])
def test_stats_are_those_of_the_clients(here: Connection, shell: str) -> None:
    with memcached("-m", "4") as server, server.connect() as client:
        server.sent = server.received = 0
        with sampled(here, server, shell) as stats, server.connect() as other:
            for number in range(5000):
                server.ask(other, b"set k%d 0 0 1000\r\n%b\r\n" % (number, VALUE), b"\r\n")
                server.ask(client, b"get absent\r\n", b"END\r\n")
            server.ask(other, b"get k4999\r\n", b"END\r\n")
    (one,) = stats
    assert (one.get_hits, one.get_misses) == (1, 5000)
    assert (one.bytes_read, one.bytes_written) == (server.sent, server.received)
    assert one.new_connections == 1
    assert (one.memory_limit, one.threads, one.listen_disabled_num) == (4 << 20, 2, 0)
    assert one.evictions
    assert one.curr_items == 5000 - one.evictions
    assert one.evicting_class is not None
    assert (one.evicting_class.number, one.evicting_class.share) == (12, 1.0)
    assert (one.evicting_class.evictions, one.evicting_class.chunk_size) == (one.evictions, 1184)
    assert one.unknown == {}


@pytest.mark.parametrize(
    ("mode", "counter"), [("maxconns_fast", "rejected_connections"), ("no_maxconns_fast", "listen_disabled_num")]
)
def test_refused_connections_are_counted(here: Connection, mode: str, counter: str) -> None:
    with memcached("-c", "40", "-o", mode) as server, sampled(here, server) as stats:
        clients = [server.connect() for _ in range(45)]
        with clients[0]:
            server.ask(clients[0], b"get absent\r\n", b"END\r\n")
        for client in clients[1:]:
            client.close()
    (one,) = stats
    assert getattr(one, counter)
    assert one.max_connections == 40


def test_reset_counters_are_unknown(here: Connection) -> None:
    with memcached() as server, server.connect() as client:
        server.ask(client, b"get absent\r\n" * 50, b"END\r\n" * 50)
        with sampled(here, server) as stats:
            server.ask(client, b"stats reset\r\n", b"RESET\r\n")
    (one,) = stats
    assert one.get_misses is None
    assert one.unknown["get_misses"] == "the counter went back, so it was reset"
    assert one.threads == 2
