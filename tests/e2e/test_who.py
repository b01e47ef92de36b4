"""`fleettrace who` counts the requests for a key by client, exactly, with connections that come and go."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.namespaces import enter
from fleettrace.lab.protocol import Command as Request
from tests.binary.builds import extra_binaries, installed, stripped
from tests.e2e.command import Command, Done, on_lab
from tests.e2e.local import ADDRESS, Served, served
from tests.e2e.who_clients import OtherClient

pytestmark = pytest.mark.lab

VERSIONS = {path.parent.name: path for path in extra_binaries() if re.fullmatch(r"1\.[\d.]+-plain", path.parent.name)}
"""Other versions than the distribution's, such as `1.4.39-plain`, where the tests' cache has them."""
LONG = "l" * 250
KEY, OTHER = "user:12345", "user:12346"


def ask(server: Served, *keys: str, seconds: int = 6) -> Command:
    return Command(["who", *keys, "-i", str(server.inventory), "--duration", f"{seconds}s", "-v", "--output", "json"])


def answers(done: Done) -> dict[str, Any]:
    assert done.status == 0, done.err
    return {key["key"]: key for key in done.report["keys"]}


def counts(key: Any) -> dict[str, int]:
    return {client["client"]: client["requests"] for client in key["clients"]}


@pytest.fixture(params=["packaged", "plain", *sorted(VERSIONS)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """A stripped memcached: the distribution's package, our own build, or another version in the tests' cache."""
    path = installed() if request.param == "packaged" else None
    if request.param == "plain":
        path = stripped("plain")
    elif request.param in VERSIONS:
        path = tmp_path / "memcached"
        subprocess.run(["strip", "-o", str(path), str(VERSIONS[request.param])], check=True)
    assert path is not None
    with served(tmp_path, path) as running:
        yield running


def test_every_request_is_counted_for_its_client(server: Served) -> None:
    with ExitStack() as stack:
        stays, leaves, changes, arrives = (
            stack.enter_context(OtherClient(f"127.0.0.{number}", ADDRESS, server.port)) for number in (5, 6, 7, 8)
        )
        for client in (stays, leaves, changes):
            client.order("open")
        with ask(server, KEY, LONG) as command:
            command.wait_for_trace("here")
            stays.order("get", KEY, "101")
            leaves.order("get", KEY, "53")
            leaves.order("close")
            changes.order("get", KEY, "3")
            for _ in range(4):
                arrives.order("open")  # gets the descriptor of the one that left
                arrives.order("get", KEY, "7")
                arrives.order("close")
                changes.order("again")
                changes.order("get", KEY, "11")
            stays.order("get", OTHER, "500")
            stays.order("get", LONG, "23")
            assert not command.has_finished("here"), "the traffic outlasted the window"
            found = answers(command.finish())
    assert counts(found[KEY]) == {"127.0.0.5": 101, "127.0.0.6": 53, "127.0.0.7": 47, "127.0.0.8": 28}
    assert (found[KEY]["requests"], found[KEY]["unknown"]) == (229, 0)
    assert (counts(found[LONG]), found[LONG]["unknown"]) == ({"127.0.0.5": 23}, 0)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, stripped("plain")) as running:
        yield running


def test_clients_of_other_hosts_have_their_addresses(tmp_path: Path, other_host: tuple[str, str, list[str]]) -> None:
    near, far, inside = other_host
    with (
        served(tmp_path, stripped("plain"), "-l", near) as server,
        OtherClient(far, near, server.port, inside) as there,
        OtherClient(near, near, server.port) as here,
    ):
        there.order("open")
        with ask(server, KEY) as command:
            command.wait_for_trace("here")
            there.order("get", KEY, "31")
            here.order("open")
            here.order("get", KEY, "17")
            there.order("again")
            there.order("get", KEY, "2")
            found = answers(command.finish())
    assert (counts(found[KEY]), found[KEY]["unknown"]) == ({far: 33, near: 17}, 0)


def test_clients_are_folded_over_a_fleet(lab: Lab) -> None:
    """Over SSH and with sudo, on instances of two inodes and in a container, to clients in namespaces of two hosts."""
    places = [(name, port) for name in ("plain", "two", "container", "sudo") for port in lab.hosts[name].ports]
    sources = {lab.hosts[name].address: enter(lab.hosts[name].namespace) for name in ("victim", "shot")}
    options = ["--hosts", "plain,two,container,sudo", "--duration", "8s", "-v", "--output", "json"]
    with ExitStack() as stack:
        clients = [
            (source, host, stack.enter_context(OtherClient(source, lab.hosts[host].address, port, inside)))
            for source, inside in sources.items()
            for host, port in places
        ]
        for _, _, client in clients[::2]:
            client.order("open")
        with Command(["who", KEY, *on_lab(lab), *options]) as command:
            command.wait_for_trace(*dict(places))
            truth: Counter[str] = Counter()
            hosts: dict[str, set[str]] = {source: set() for source in sources}
            for number, (source, host, client) in enumerate(clients, 2):
                client.order("again")
                client.order("get", KEY, str(number))
                truth[source] += number
                hosts[source].add(host)
            assert not command.has_finished(*dict(places)), "the traffic outlasted the window"
            [found] = answers(command.finish()).values()
    assert (counts(found), found["unknown"]) == (truth, 0)
    assert {one["client"]: set(one["hosts"]) for one in found["clients"]} == hosts


def test_requests_of_every_kind_are_counted(server: Served) -> None:
    key, other = KEY.encode(), OTHER.encode()
    requests = [
        *[Request("get", (other, key, other))] * 11,
        *[Request("set", (key,))] * 7,
        *[Request("incr", (key,))] * 5,
        *[Request("bget", (key,))] * 13,
        *[Request("touch", (key,))] * 3,
        *[Request("delete", (key,))] * 2,
    ]
    with ask(server, KEY) as command:
        command.wait_for_trace("here")
        truth = server.send(requests, 10_000).by_key()[key]
        found = answers(command.finish())
    assert (truth, counts(found[KEY])) == (41, {ADDRESS: 41})


def test_clients_of_ipv6_have_their_addresses(tmp_path: Path) -> None:
    with served(tmp_path, stripped("plain"), "-l", "::1") as server, ExitStack() as stack:
        before, new = (stack.enter_context(OtherClient("::1", "::1", server.port)) for _ in range(2))
        before.order("open")
        with ask(server, KEY, seconds=6) as command:
            command.wait_for_trace("here")
            before.order("get", KEY, "7")
            new.order("open")
            new.order("get", KEY, "4")
            found = answers(command.finish())
    assert (counts(found[KEY]), found[KEY]["unknown"]) == ({"::1": 11}, 0)


def test_interrupted_sweep_answers_with_what_it_has(tmp_path: Path) -> None:
    with served(tmp_path, stripped("plain")) as server, OtherClient("127.0.0.5", ADDRESS, server.port) as client:
        client.order("open")
        with ask(server, KEY, seconds=30) as command:
            command.wait_for_trace("here")
            client.order("get", KEY, "29")
            client.order("again")
            client.order("get", KEY, "2")
            command.signal(signal.SIGINT)
            done = command.finish()
    [found] = done.report["keys"]
    assert (done.status, found["requests"], counts(found)) == (130, 31, {"127.0.0.5": 31})


def test_hostile_keys_are_only_compared(plain: Served, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    hostile = f'x");system("touch\t{mark}");//${{exe}}@w\\n"\'`'.replace("\t", "${IFS}")
    with OtherClient("127.0.0.5", ADDRESS, plain.port) as client:
        client.order("open")
        with ask(plain, hostile.replace("\\", "\\\\"), seconds=6) as command:
            command.wait_for_trace("here")
            client.order("get", hostile, "19")
            [found] = answers(command.finish()).values()
    assert (found["requests"], counts(found)) == (19, {"127.0.0.5": 19})
    assert not mark.exists()


def test_key_without_requests_has_no_clients(plain: Served) -> None:
    with ask(plain, KEY, seconds=2) as command:
        found = answers(command.finish())
    assert (found[KEY]["requests"], found[KEY]["unknown"], found[KEY]["clients"]) == (0, 0, [])
