"""A small HTTP server for metrics: GET of two paths, bounded in bytes, in time and in connections."""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from fleettrace.errors import ConfigError

__all__ = ["CONTENT_TYPE", "MAX_REQUEST_BYTES", "REQUEST_S", "serving", "shown_address"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
MAX_REQUEST_BYTES = 8192
"""Of a request's first line and headers together. Prometheus sends about 300."""
REQUEST_S = 5.0
"""Seconds for a client to send its request, and as many to read the answer."""
_CONNECTIONS = 16
"""At a time; each has a thread. Further ones are closed at once."""
_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>fleettrace exporter</title></head>
<body><h1>fleettrace exporter</h1><p><a href="/metrics">Metrics</a></p></body></html>
"""
_POLL_S = 0.2
"""The server ends at most so much later than requested."""


@contextmanager
def serving(listen: tuple[str, int], text: Callable[[], bytes]) -> Iterator[tuple[str, int]]:
    """Serve `text` as /metrics while the block runs; yield the address and the port. Raises `ConfigError`."""
    try:
        server = _Server(listen, text)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {shown_address(listen)}: {error.strerror}: select another address with --listen"
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
    thread.start()
    try:
        yield server.server_address[0], server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def shown_address(listen: tuple[str, int]) -> str:
    """Return address and port as in a URL."""
    address, port = listen
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class _Server(ThreadingMixIn, TCPServer):
    """Gives each connection a thread. `http.server.HTTPServer` would look up the machine's name first."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    server_address: tuple[str, int]

    def __init__(self, listen: tuple[str, int], text: Callable[[], bytes]) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self.text = text
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(listen, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that sends too much, sends or reads too slowly, or leaves."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request, then closes the connection."""

    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BytesIO(_request(self.connection))

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE, self.server.text())
            case "/":
                self._answer(HTTPStatus.OK, "text/html; charset=utf-8", _PAGE)
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not found: see /metrics\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Return the header Server."""
        return "fleettrace"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log nothing: a client could fill the disk."""


def _request(connection: socket.socket) -> bytes:
    """Return a request to the end of its headers. Raises `OSError` for one that is too large or too slow."""
    deadline = time.monotonic() + REQUEST_S
    head = bytearray()
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        if len(head) >= MAX_REQUEST_BYTES:
            raise OSError("the request is too large")
        # A timeout of 0 would mean a socket that does not wait at all.
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        received = connection.recv(MAX_REQUEST_BYTES - len(head))
        if not received or time.monotonic() > deadline:
            raise OSError("the request is incomplete")
        head += received
    connection.settimeout(REQUEST_S)
    return bytes(head)
