"""Connections to a memcached port: answers that lie, stall or flood, and TLS with real certificates."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fleettrace.errors import HostError, HostState
from fleettrace.transport.endpoint.model import PortTarget, Tls
from fleettrace.transport.endpoint.port import MemcachedPort, connect_port

_END = re.compile(rb"END\r?$")
Behaviour = Callable[[socket.socket], None]


@contextmanager
def serving(behaviour: Behaviour, context: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve connections by `behaviour`, each to its end; yield the port."""
    listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def work() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with suppress(OSError), client:
                    client.settimeout(5)
                    behaviour(client if context is None else context.wrap_socket(client, server_side=True))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)


def answering(text: bytes) -> Behaviour:
    def behave(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(text)
        client.recv(100)

    return behave


def flooding(chunk: bytes) -> Behaviour:
    def behave(client: socket.socket) -> None:
        while True:
            client.sendall(chunk)

    return behave


def dripping(client: socket.socket) -> None:
    while True:
        client.sendall(b"S")
        time.sleep(0.01)


@contextmanager
def connected(port: int, tls: Tls | None = None, address: str = "127.0.0.1") -> Iterator[MemcachedPort]:
    connection = connect_port(PortTarget(address, port, tls), 5)
    try:
        yield connection
    finally:
        connection.close()


def asked(behaviour: Behaviour, most: int = 4096) -> HostError:
    """Return the error of asking a server of this behaviour for half a second."""
    with serving(behaviour) as port, connected(port) as connection, pytest.raises(HostError) as caught:
        connection.ask(b"stats", _END, seconds=0.5, most=most)
    return caught.value


def test_answer_ends_at_its_last_line() -> None:
    with serving(answering(b"STAT END 1\r\nEND\r\nmore")) as port, connected(port) as connection:
        assert connection.ask(b"stats", _END, seconds=5, most=4096) == b"STAT END 1\r\nEND\r\n"
        assert connection.read(5) == b"more"


def test_dripped_answer_ends_in_time() -> None:
    started = time.monotonic()
    assert asked(dripping).code == "endpoint-silent"
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("chunk", [b"x" * 65536, b"STAT pid 1\r\n" * 5000])
def test_endless_answer_ends_at_its_bound(chunk: bytes) -> None:
    error = asked(flooding(chunk))
    assert (error.code, error.state) == ("endpoint-silent", HostState.UNREACHABLE)
    assert "longer than 4,096 bytes" in error.message


def test_closed_connection_names_tls() -> None:
    error = asked(lambda client: client.close())
    assert error.code == "endpoint-lost"
    assert "requires TLS" in error.message


def test_refused_connection_names_address_and_reason() -> None:
    with serving(dripping) as port:
        pass
    with pytest.raises(HostError, match=rf"127.0.0.1:{port} \(Connection refused\)") as caught:
        connect_port(PortTarget("127.0.0.1", port), 5)
    assert caught.value.code == "endpoint-unreachable"


def test_unknown_name_does_not_resolve() -> None:
    with pytest.raises(HostError) as caught:
        connect_port(PortTarget("no-such-host.invalid", 11211), 5)
    assert caught.value.code == "endpoint-dns"


def test_ipv6_address_is_connected_to() -> None:
    with serving(answering(b"END\r\n"), address="::1") as port, connected(port, address="::1") as connection:
        assert connection.ask(b"stats", _END, seconds=5, most=100) == b"END\r\n"
    assert str(PortTarget("::1", 11211)) == "[::1]:11211"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a self-signed certificate for cache.test with its key; `encrypted.pem` has the key encrypted."""
    directory = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=cache.test"]
    files = ["-addext", "subjectAltName=DNS:cache.test", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*made, *files], cwd=directory, check=True, capture_output=True)
    encrypt = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", "key.pem", "-out", "encrypted.pem"]
    subprocess.run(encrypt, cwd=directory, check=True, capture_output=True)
    (directory / "both.pem").write_text((directory / "key.pem").read_text() + (directory / "cert.pem").read_text())
    return directory / "both.pem"


def by_tls(certificate: Path, tls: Tls, *, ask_client: bool = False) -> bytes:
    """Return the answer of a server with this certificate to a client with these settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if ask_client:
        context.load_verify_locations(certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    with serving(answering(b"END\r\n"), context) as port, connected(port, tls) as connection:
        return connection.ask(b"stats", _END, seconds=5, most=100)


def test_trusted_certificate_is_accepted(certificate: Path) -> None:
    assert by_tls(certificate, Tls(ca=certificate, server_name="cache.test")) == b"END\r\n"
    assert by_tls(certificate, Tls(verify=False)) == b"END\r\n"


@pytest.mark.parametrize(
    ("tls", "reason"),
    [(Tls(server_name="cache.test"), "self-signed certificate"), (Tls(ca=Path("given")), "IP address mismatch")],
)
def test_untrusted_certificate_is_refused(certificate: Path, tls: Tls, reason: str) -> None:
    used = Tls(certificate if tls.ca else None, server_name=tls.server_name)
    with pytest.raises(HostError, match=reason) as caught:
        by_tls(certificate, used)
    assert (caught.value.code, caught.value.state) == ("endpoint-certificate", HostState.HOST_KEY)


def test_client_certificate_is_sent(certificate: Path) -> None:
    own = Tls(certificate, certificate=certificate, server_name="cache.test")
    assert by_tls(certificate, own, ask_client=True) == b"END\r\n"


def test_plain_port_fails_the_handshake() -> None:
    with serving(answering(b"ERROR\r\n")) as port, pytest.raises(HostError) as caught:
        connect_port(PortTarget("127.0.0.1", port, Tls(verify=False)), 5)
    assert caught.value.code == "endpoint-tls"


@pytest.mark.parametrize("file", ["encrypted.pem", "missing.pem", "cert.pem"])
def test_unusable_key_is_named(certificate: Path, file: str) -> None:
    key = certificate.with_name(file)
    tls = Tls(certificate=certificate.with_name("cert.pem"), key=key)
    with serving(dripping) as port, pytest.raises(HostError, match=file) as caught:
        connect_port(PortTarget("127.0.0.1", port, tls), 5)
    assert caught.value.code == "endpoint-tls-files"
