"""Hosts with `fleettrace_endpoint`: asked over memcached's port from the controller, plainly and with TLS."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.protocol import Command as Request
from tests.e2e.command import Command, Done, run
from tests.e2e.fleet import keys_of
from tests.e2e.local import ADDRESS, Served, served

pytestmark = pytest.mark.lab

TRAFFIC = [
    *[Request("get", (b"a", b"b/%c", b"gone"))] * 23,
    *[Request("set", (b"a",), b"v" * 100), Request("delete", (b"gone",))] * 11,
    *[Request("mg", (b"k" * 250,)), Request("incr", (b"n",), b"1")] * 7,
]


def as_endpoint(memcached: Served, **variables: object) -> Served:
    """Write an inventory that reaches it over its port alone."""
    own = {"fleettrace_endpoint": f"{ADDRESS}:{memcached.port}", **variables}
    lines = "".join(f"      {name}: {value}\n" for name, value in own.items())
    memcached.inventory.write_text(f"all:\n  hosts:\n    here:\n{lines}")
    return memcached


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, memcached_binary()) as running:
        yield as_endpoint(running)


def swept(memcached: Served, command: str = "run", **environment: str) -> Done:
    options = ["--duration", "1s", "--output", "json"]
    return run(command, "-i", str(memcached.inventory), *options, **environment)


def error_of(done: Done) -> Any:
    return done.host("here")["error"]


def test_endpoint_counts_lookups_without_a_login(memcached: Served) -> None:
    done, truth = memcached.trace(TRAFFIC, seconds=2)
    assert keys_of(done.report["keys"]) == truth.by_key()
    [instance] = done.host("here")["instances"]
    assert (done.status, instance["state"], instance["pid"]) == (0, "ok", memcached.pid)
    assert (instance["probe"]["kind"], instance["probe"]["exact"]) == ("watch", False)
    assert instance["coverage"]["counted"] == truth.total()
    sizes = {row["key"]: row["size"] for row in done.report["keys"]}
    assert (sizes["a"], sizes["n"]) == (100, None)
    stats = instance["stats"]
    assert (stats["new_connections"], stats["curr_connections"], stats["threads"]) == (1, 0, 2)
    assert 0 < stats["bytes_read"] < 10_000
    assert not any(row["certified"] for row in done.report["keys"])


def test_refused_watch_leaves_the_request_rate(tmp_path: Path) -> None:
    with served(tmp_path, memcached_binary(), "-W") as memcached:
        done, truth = as_endpoint(memcached).trace(TRAFFIC, seconds=2)
        checked = swept(memcached, "check")
    host = done.host("here")
    assert (done.status, host["state"], host["error"]["code"]) == (3, "partial", "watch-refused")
    assert "watch commands not allowed" in host["error"]["message"]  # memcached's own message (proto_text.c)
    assert (host["requests"], host["coverage"]["traced"]) == (truth.total(), 0)
    assert done.report["keys"] == []
    assert done.report["totals"]["absent"] == truth.total()
    assert (checked.host("here")["state"], checked.host("here")["requests"]) == ("partial", None)


def test_check_shows_what_a_run_can_do(memcached: Served) -> None:
    endpoint = f"{ADDRESS}:{memcached.port}"
    checked = run("check", "--endpoint", endpoint)
    assert (checked.status, checked.out.count(b"\n")) == (0, 1)
    assert f"{endpoint}  pid {memcached.pid}  :{memcached.port}  memcached".encode() in checked.out
    assert b"watch, about 0.9 us a request" in checked.out


def test_plan_shows_the_port_and_no_program(memcached: Served) -> None:
    planned = run("plan", "-i", str(memcached.inventory)).out.decode()
    assert f"here: asked on memcached's port {ADDRESS} {memcached.port}, without a login\n" in planned


def test_required_login_is_named(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("user:pass\n")
    with served(tmp_path, memcached_binary(), "-u", "root", "-Y", str(users), ready=is_open) as memcached:
        done = swept(as_endpoint(memcached))
    assert done.host("here")["state"] == "auth-failed"
    assert error_of(done)["code"] == "endpoint-authentication"


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((ADDRESS, port)) == 0


@pytest.mark.parametrize("option", [("--ops", "get"), ("--script", "bpftrace/value-sizes.bt"), ("--detach",)])
def test_option_that_needs_bpftrace_fails_the_host(memcached: Served, option: tuple[str, ...]) -> None:
    done = run("run", "-i", str(memcached.inventory), "--duration", "1s", "--output", "json", *option)
    assert error_of(done)["code"] == "endpoint-needs-login"
    assert option[0] in error_of(done)["message"]


def test_interrupted_window_reports_its_counts(memcached: Served) -> None:
    options = ["--duration", "60s", "--output", "json", "-v"]
    with Command(["run", "-i", str(memcached.inventory), *options]) as command:
        command.wait_for_trace("here")
        truth = memcached.send(TRAFFIC, 50)
        command.signal(signal.SIGINT)
        done = command.finish(seconds=20)
    assert done.status == 130
    assert keys_of(done.report["keys"]) == truth.by_key()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a self-signed certificate for cache.test, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=cache.test"]
    files = ["-addext", "subjectAltName=DNS:cache.test", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*made, *files], cwd=path.parent, check=True, capture_output=True)
    path.write_text("".join((path.parent / name).read_text() for name in ("key.pem", "cert.pem")))
    path.chmod(0o644)
    path.parent.chmod(0o755)
    return path


def test_memcached_with_tls_is_asked(tmp_path: Path, certificate: Path) -> None:
    """Debian's memcached speaks TLS itself."""
    tls = ["-Z", "-o", f"ssl_chain_cert={certificate},ssl_key={certificate}"]
    with served(tmp_path, Path("/usr/bin/memcached"), *tls, ready=is_open) as memcached:
        trusted = {"fleettrace_endpoint_tls": True, "fleettrace_endpoint_tls_ca": certificate}
        named = swept(as_endpoint(memcached, **trusted, fleettrace_endpoint_tls_server_name="cache.test"))
        misnamed = swept(as_endpoint(memcached, **trusted))
        plain = swept(as_endpoint(memcached))
    assert (named.status, named.host("here")["state"]) == (0, "ok")
    assert named.host("here")["instances"][0]["pid"] == memcached.pid
    assert error_of(misnamed)["code"] == "endpoint-certificate"
    assert error_of(plain)["code"] == "endpoint-lost"
