"""The server answers two paths, and no client can hold it up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from fleettrace.app.exporter import server
from fleettrace.app.exporter.server import CONTENT_TYPE, MAX_REQUEST_BYTES, serving
from fleettrace.errors import ConfigError
from fleettrace.lab.system import wait_until

TEXT = b"fleettrace_hosts_traced 7\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch, serving(("127.0.0.1", 0), lambda: TEXT) as (_, port):
        patch.setattr(server, "REQUEST_S", 1.0)
        yield port


def ask(port: int, path: str = "/metrics", method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def sent(port: int, data: bytes) -> bytes:
    """Return the answer to these bytes, which may be none."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        answer = bytearray()
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return bytes(answer)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/metrics", 200, TEXT),
        ("/metrics?x=1", 200, TEXT),
        ("/", 200, b'href="/metrics"'),
        ("/metrics/x", 404, b"not found"),
        ("/../etc/passwd", 404, b"not found"),
        ("//metrics", 200, TEXT),
    ],
)
def test_only_metrics_and_a_page_are_served(port: int, path: str, status: int, words: bytes) -> None:
    answer = ask(port, path)
    assert (answer[0], words in answer[1]) == (status, True)


def test_metrics_have_the_type_of_the_text_format(port: int) -> None:
    assert f"Content-Type: {CONTENT_TYPE}\r\n".encode() in sent(port, b"GET /metrics HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "<b>"])
def test_other_methods_are_refused(port: int, method: str) -> None:
    status, body = ask(port, method=method)
    assert status == 501
    assert b"<b>" not in body


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"x" * MAX_REQUEST_BYTES,
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * MAX_REQUEST_BYTES,
        b"GET /metrics HTTP/1.1\r\n",
        b"",
    ],
    ids=["long-line", "many-headers", "no-end", "silent"],
)
def test_endless_request_is_closed_without_an_answer(port: int, data: bytes) -> None:
    begun = time.monotonic()
    assert sent(port, data) == b""
    assert time.monotonic() - begun < 3


def test_slow_request_is_closed_in_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        begun = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begun < 4:
                connection.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() - begun < 3


def test_idle_clients_do_not_keep_others_out(port: int) -> None:
    threads = threading.active_count()
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        assert threading.active_count() <= threads + 16
        wait_until(lambda: _served(port), "idle clients are not closed", seconds=5)
    wait_until(lambda: threading.active_count() <= threads, "a thread stays", seconds=5)


def _served(port: int) -> bool:
    try:
        return ask(port) == (200, TEXT)
    except OSError:
        return False


def test_requests_at_once_are_all_answered(port: int) -> None:
    answers: list[tuple[int, bytes]] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(port))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [(200, TEXT)] * 8


def test_ipv6_addresses_are_served() -> None:
    with serving(("::1", 0), lambda: TEXT) as (address, port):
        assert ask(port, host=address) == (200, TEXT)


def test_used_address_is_a_configuration_error(port: int) -> None:
    with (
        pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: Address already in use: .*--listen"),
        serving(("127.0.0.1", port), lambda: TEXT),
    ):
        pass
