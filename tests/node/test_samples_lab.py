"""The samples of real memcached processes equal the requests sent, and the sampler's processes end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Client
from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command
from fleettrace.lab.specs import HostSpec, container
from fleettrace.lab.system import wait_until
from fleettrace.lab.truth import OP_OF_VERB, TracedInstance
from fleettrace.node.discovery import discover
from fleettrace.node.model import Discovery, Endpoint, Instance
from fleettrace.node.request_rates import assignments, endpoint_lines, sample_early
from fleettrace.node.samples import Sample, SampleReader
from fleettrace.transport.interface import Limits, Stream, Target
from fleettrace.transport.local.transport import LocalConnection, LocalTransport

pytestmark = pytest.mark.lab

SHELLS = ["perl", "bash", "sh"]
"""What looks, best first."""
ONCE = "\nexec 3<&0 </dev/null\nlook 1 500\ngather 4\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([HostSpec("one"), HostSpec("contained", container())]) as made:
        yield made


@pytest.fixture(scope="module")
def connection() -> Iterator[LocalConnection]:
    made = LocalTransport().connect(Target("here"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def found(lab: Lab, connection: LocalConnection) -> Discovery:
    """Discover this machine, with the memcached processes of the lab."""
    assert lab.hosts
    return discover(connection, ["true"], "host")


def in_shell(shell: str, script: str) -> str:
    """The script as it is where there is none of the better ones: perl, bash, sh."""
    for better in SHELLS[: SHELLS.index(shell)]:
        assert f"command -v {better} " in script
        script = script.replace(f"command -v {better} ", "false ")
    return script


def instance_of(found: Discovery, pid: int) -> Instance:
    return next(one for one in found.instances if one.pid == pid)


def listens(found: Discovery, pid: int) -> bool:
    """Whether the memcached was found (which at its start has no threads yet) and listens."""
    return any(one.pid == pid and one.endpoints for one in found.instances)


def sample_once(
    connection: LocalConnection,
    found: Discovery,
    instance: Instance,
    *,
    shell: str = "perl",
    lacking: Iterable[str] = (),
) -> list[Sample]:
    places = {instance.pid: instance.endpoints[0]}
    script = assignments("0.1 1 100 0", endpoint_lines(found.facts, [instance], places))
    script = in_shell(shell, script)
    for test in lacking:
        script = script.replace(test, "false ")
    reader = SampleReader()
    execution = connection.start((script + ONCE).encode(), Limits(seconds=20, max_bytes=1 << 16))
    other = b"".join(reader.feed(chunk.data) for chunk in execution if chunk.stream is Stream.ERR)
    assert other == b""
    return reader.samples


@pytest.mark.parametrize("name", ["one", "contained"])
def test_an_instance_is_asked_inside_its_own_network(
    lab: Lab, connection: LocalConnection, found: Discovery, name: str
) -> None:
    host = lab.hosts[name]
    instance = instance_of(found, host.pids[11211])
    assert instance.netns not in ("", found.facts.netns)
    assert instance.endpoints == (Endpoint("127.0.0.1", 11211),)
    before = sample_once(connection, found, instance)[0]
    lab.send({TracedInstance(name, 11211): [Command("get", (b"a", b"b", b"a"))] * 23})
    after = sample_once(connection, found, instance)[0]
    assert before.requests is not None
    assert after.requests == before.requests + 69
    assert after.cpu_ns is not None
    assert before.cpu_ns is not None
    assert after.cpu_ns >= before.cpu_ns > 0
    assert after.ns > before.ns


@pytest.mark.parametrize("shell", ["perl", "bash"])
@pytest.mark.parametrize("verb", sorted(OP_OF_VERB))
def test_every_command_is_counted_once_for_each_key(
    lab: Lab, connection: LocalConnection, found: Discovery, verb: str, shell: str
) -> None:
    host = lab.hosts["one"]
    instance = instance_of(found, host.pids[11211])
    with Client(TracedInstance("one", 11211), host.address) as client:
        client.send([Command("set", (b"there",), b"5")])
        before = sample_once(connection, found, instance, shell=shell)[0].requests
        client.send([Command(verb, (b"there",), b"5"), Command(verb, (b"absent",), b"5")] * 23)
        after = sample_once(connection, found, instance, shell=shell)[0].requests
        client.send([Command("delete", (b"absent",))])
    assert before is not None
    assert after == before + 46


TOOLS = {"nc": "command -v nc ", "busybox": "busybox nc --help ", "socat": "command -v socat ", "perl": "perl is last"}
"""How stats.sh asks for each of the tools that can do what bash does."""


@pytest.mark.parametrize("tool", TOOLS)
def test_a_node_without_bash_reads_the_same(lab: Lab, connection: LocalConnection, found: Discovery, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    instance = instance_of(found, lab.hosts["one"].pids[11211])
    lacking = [test for name, test in TOOLS.items() if name != tool]

    def answered() -> int | None:
        return sample_once(connection, found, instance, shell="sh", lacking=lacking)[0].requests

    # On a busy machine a tool takes longer to start than a look may take.
    assert wait_until(answered, f"{tool} gets no answer") == sample_once(connection, found, instance)[0].requests


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Run a server on the loopback that gives every client this answer; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked = connection.recv(100)
                    connection.settimeout(3)
                    try:
                        connection.sendall(answer)
                        while asked and b"quit" not in asked:
                            asked = connection.recv(100)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)


SOUND = b"STAT cmd_get 3\r\nSTAT cmd_set 4\r\nSTAT cmd_touch 5\r\nSTAT get_hits 9\r\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        (SOUND + b"END\r\n", 12),
        (SOUND, None),
        (b"", None),
        (b"ERROR\r\n", None),
        (b"\x15\x03\x01\x00\x02\x02\x0a", None),
        (b"STAT cmd_get 3\r\nSTAT cmd_set $(touch /tmp/never)\r\nEND\r\n", None),
        (b"STAT cmd_get 3\r\nSTAT cmd_set a[$(id)]\r\nEND\r\n", None),
        (b"STAT cmd_get 08\r\nSTAT cmd_set 4\r\nEND\r\n", None),
        (b"STAT cmd_get -3\r\nSTAT cmd_set 4\r\nEND\r\n", None),
        (b"STAT cmd_get " + b"9" * 40 + b"\r\nSTAT cmd_set 4\r\nEND\r\n", None),
        (b"STAT * /*\r\n" + SOUND + b"END\r\n", 12),
        (b"STAT cmd_get 3\r\nEND\r\n", None),
        (b"x" * 2_000_000, None),
        (b"a[$(touch /tmp/never)] " * 5000, None),
        (SOUND + b"END\r\n" + b"a[$(touch /tmp/never)]\n" * 5000, 12),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_answer_is_digits_or_nothing(
    connection: LocalConnection, answer: bytes, requests: int | None, shell: str
) -> None:
    me = subprocess.Popen(["sleep", "60"])
    try:
        with answering(answer) as port:
            script = assignments("0.1 1 100 0", f"- {me.pid}/127.0.0.1/{port}")
            script = in_shell(shell, script)
            reader = SampleReader()
            execution = connection.start((script + ONCE).encode(), Limits(seconds=20, max_bytes=1 << 16))
            other = b"".join(reader.feed(chunk.data) for chunk in execution)
    finally:
        me.kill()
        me.wait()
    assert other == b""
    assert [(sample.pid, sample.requests) for sample in reader.samples] == [(me.pid, requests)]
    assert not Path("/tmp/never").exists()


@contextmanager
def restarting(pids: Iterable[int]) -> Iterator[int]:
    """A server that calls its process id another one with each connection that it accepts; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for pid in pids:
                connection, _ = server.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(b"STAT pid %d\r\n" % pid + SOUND + b"END\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def samples_of(connection: LocalConnection, shell: str, place: str, number: int) -> Iterator[Sample]:
    """Sample a place as `shell` does, at intervals of 0.2 s, and yield each sample as it arrives."""
    script = in_shell(shell, assignments("0.2 0.2 20 0", f"- {place}"))
    # perl keeps some seconds of samples for one write.
    script = script.replace("my ($patience, $most) = (300, 4000);", "my ($patience, $most) = (0, 4000);")
    script += f"\nexec 3<&0 </dev/null\nlook {number} 2000\ngather 20\n"
    reader, seen = SampleReader(), 0
    execution = connection.start(script.encode(), Limits(seconds=30, max_bytes=1 << 20))
    try:
        for chunk in execution:
            if chunk.stream is Stream.ERR:
                reader.feed(chunk.data)
                yield from reader.samples[seen:]
                seen = len(reader.samples)
    finally:
        execution.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_answer_of_another_process_is_ignored(connection: LocalConnection, shell: str) -> None:
    me = os.getpid()
    with restarting([7, 7, 8, 8, 7, 7, 7, 7]) as port:
        samples = list(samples_of(connection, shell, f"{me}/127.0.0.1/{port}", 8))
    known = [sample.requests for sample in samples]
    assert 12 in known
    assert None in known[2:6]
    assert len(known) == 8


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("reaped", [True, False])
def test_a_successor_on_the_port_is_not_sampled(connection: LocalConnection, shell: str, reaped: bool) -> None:
    port = free_port()
    command = [str(DEBIAN), "-u", "root", "-U", "0", "-l", "127.0.0.1", "-p", str(port)]
    servers = [subprocess.Popen(command, stderr=subprocess.DEVNULL)]
    wait_until(lambda: listening(port), "no process listens")
    known = []
    try:
        place = f"{servers[0].pid}/127.0.0.1/{port}"
        for sample in samples_of(connection, shell, place, 12):
            known.append(sample.requests)
            if sample.requests is not None and len(servers) == 1:
                servers[0].kill()
                if reaped:
                    servers[0].wait()
                wait_until(lambda: not listening(port), "it does not end")
                servers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
                wait_until(lambda: listening(port), "the successor does not start")
    finally:
        for server in servers:
            server.kill()
            server.wait()
    assert 0 in known
    assert known[-3:] == [None, None, None]


def listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def memcached(*options: str) -> Iterator[int]:
    """A memcached of this machine's, by its pid."""
    process = subprocess.Popen([str(DEBIAN), "-u", "root", "-U", "0", *options], stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("shell", SHELLS)
def test_sampler_ignores_start_up_files(
    lab: Lab, found: Discovery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    (tmp_path / ".bashrc").write_text(f"touch {tmp_path}/rc\n")
    (tmp_path / "env").write_text(f"touch {tmp_path}/env-read\n")
    for name, value in {"HOME": str(tmp_path), "SSH_CLIENT": "::1 1 1", "BASH_ENV": str(tmp_path / "env")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PERL5OPT", "-MNoSuchModule")
    monkeypatch.delenv("SHLVL", raising=False)
    fresh = LocalTransport().connect(Target("here"))
    try:
        assert sample_once(fresh, found, instance_of(found, lab.hosts["one"].pids[11211]), shell=shell)
    finally:
        fresh.close()
    assert {path.name for path in tmp_path.iterdir()} == {".bashrc", "env"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "::1", "0.0.0.0", "::"])
def test_an_instance_is_asked_where_it_listens(connection: LocalConnection, address: str) -> None:
    port = free_port()
    with memcached("-p", str(port), "-l", f"[{address}]" if ":" in address else address) as pid:
        wait_until(lambda: listens(discover(connection, ["true"], "host"), pid), "no process listens")
        found = discover(connection, ["true"], "host")
        busy = sample_early(connection, found.facts, [instance_of(found, pid)])
    assert set(busy.rates) == {pid}


@pytest.mark.parametrize("way", ["binary", "unix", "frozen"])
def test_unreachable_process_does_not_delay_others(connection: LocalConnection, tmp_path: Path, way: str) -> None:
    port = str(free_port())
    listening = ["-s", str(tmp_path / "socket")] if way == "unix" else ["-l", "127.0.0.1", "-p", port]
    with memcached(*listening, *(["-B", "binary"] if way == "binary" else [])) as pid:
        time.sleep(0.5)
        found = discover(connection, ["true"], "host")
        if way == "frozen":
            os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        busy = sample_early(connection, found.facts, [instance_of(found, pid)])
    assert not busy.rates
    assert not busy.endpoints
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("shell", SHELLS)
def test_stopped_memcacheds_delay_no_sample_of_their_neighbours(connection: LocalConnection, shell: str) -> None:
    with ExitStack() as servers:
        ports = [free_port() for _ in range(7)]
        pids = [servers.enter_context(memcached("-l", "127.0.0.1", "-p", str(port), "-t", "1")) for port in ports]
        for port in ports:
            wait_until(lambda port=port: listening(port), "it does not start")  # type: ignore[misc]
        for pid in pids[:-1]:
            os.kill(pid, signal.SIGSTOP)
        place = " ".join(f"{pid}/127.0.0.1/{port}" for pid, port in zip(pids, ports, strict=True))
        begun = time.monotonic()
        samples = list(samples_of(connection, shell, place, 8))
    assert time.monotonic() - begun < 10
    live = [sample for sample in samples if sample.pid == pids[-1]]
    assert len(live) == 8
    assert all(sample.requests is not None for sample in live)
    assert live[-1].ns - live[0].ns < 4_000_000_000
    stopped = [sample for sample in samples if sample.pid == pids[0]]
    assert stopped
    assert all(sample.requests is None and sample.cpu_ns is not None for sample in stopped)


def lookers(place: str) -> list[str]:
    """The processes that look at a place."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"fleettrace-looker" in words and place.encode() in words:
            found.append(directory.name)
    return found


@pytest.mark.parametrize("way", ["whole", "ended"])
def test_samples_of_seconds_are_one_write(connection: LocalConnection, way: str) -> None:
    script = assignments("0.1 1 100 0", f"- {os.getpid()}/-/-")
    script += "\nexec 3<&0 </dev/null\n"
    script += "look 12 500\n" if way == "whole" else "look 100000 100000\nsleep 1.3\nkill $lookers\n"
    script += "gather 4\n"
    reader = SampleReader()
    chunks = list(connection.start(script.encode(), Limits(seconds=30, max_bytes=1 << 20)))
    assert len([reader.feed(chunk.data) for chunk in chunks]) == 1
    assert 8 <= len(reader.samples) <= 14


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("way", ["session", "shell"])
def test_sampling_ends_with_session_and_script(connection: LocalConnection, shell: str, way: str) -> None:
    mine = "424242424/-/-"
    script = in_shell(shell, assignments("0.1 1 100 0", f"- {mine}"))
    script += "\nexec 3<&0 </dev/null\nlook 100000 100000\nsleep 1\necho there\n"
    script += "kill -KILL $$\n" if way == "shell" else "while read -r _ <&3; do :; done\n"
    execution = connection.start(script.encode(), Limits(seconds=30, max_bytes=1 << 20))
    output = iter(execution)
    while b"there" not in next(output).data:
        pass
    if way == "session":
        assert lookers(mine)
    execution.stop()
    wait_until(lambda: not lookers(mine), "the looks go on", seconds=3.0)
    execution.close()
