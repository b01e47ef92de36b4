"""Start a memcached for a test, and send exact numbers of requests in each of the three protocols."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["COMMANDS", "Client", "memcached"]


@contextlib.contextmanager
def memcached(binary: Path) -> Iterator[tuple[int, Callable[[], Client]]]:
    """Run memcached on a free port of 127.0.0.1; yield its pid, and a function that connects to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([str(binary), "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-t", "2", "-m", "16"])
    try:
        _connect(port).close()
        yield server.pid, lambda: Client(_connect(port))
    finally:
        server.kill()
        server.wait()


def _connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Client:
    """One connection that waits for every answer. Its protocol is that of its first request."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.stream = connection.makefile("rb")

    def ascii(self, command: str, last: bytes = b"") -> bytes:
        """Send lines; read up to the line that starts with `last`, or one line when it is empty."""
        self.connection.sendall(command.encode() + b"\r\n")
        while True:
            line = self.stream.readline()
            if not line or line.startswith(last):
                return line

    def binary(self, opcode: int, key: bytes, extras: bytes = b"", value: bytes = b"") -> None:
        """Send one binary-protocol request and read its answer."""
        size = len(extras) + len(key) + len(value)
        head = struct.pack(">BBHBBHIIQ", 0x80, opcode, len(key), len(extras), 0, 0, size, 0, 0)
        self.connection.sendall(head + extras + key + value)
        answer = self.stream.read(24)
        self.stream.read(struct.unpack(">I", answer[8:12])[0])


def _store(verb: str) -> Callable[[Client, str], object]:
    return lambda client, key: client.ascii(f"{verb} {key} 0 0 2\r\n10")


COMMANDS: dict[str, tuple[str, int, Callable[[Client, str], object]]] = {
    "get": ("get", 1, lambda c, k: c.ascii(f"get {k}", b"END")),
    "gets": ("get", 1, lambda c, k: c.ascii(f"gets {k}", b"END")),
    "multiget": ("get", 100, lambda c, k: c.ascii("get " + " ".join([k] * 100), b"END")),
    "gat": ("touch", 1, lambda c, k: c.ascii(f"gat 100 {k}", b"END")),
    "touch": ("touch", 1, lambda c, k: c.ascii(f"touch {k} 100")),
    "set": ("set", 1, _store("set")),
    "add": ("set", 1, _store("add")),
    "replace": ("set", 1, _store("replace")),
    "append": ("set", 1, _store("append")),
    "prepend": ("set", 1, _store("prepend")),
    "cas": ("set", 1, lambda c, k: c.ascii(f"cas {k} 0 0 2 1\r\n10")),
    "incr": ("arith", 1, lambda c, k: c.ascii(f"incr {k} 1")),
    "decr": ("arith", 1, lambda c, k: c.ascii(f"decr {k} 1")),
    "delete": ("delete", 1, lambda c, k: c.ascii(f"delete {k}")),
    "mg": ("get", 1, lambda c, k: c.ascii(f"mg {k} s f")),
    "mg-locked": ("get", 1, lambda c, k: c.ascii(f"mg {k} h l t")),
    "ms": ("set", 1, lambda c, k: c.ascii(f"ms {k} 2\r\n10")),
    "md": ("delete", 1, lambda c, k: c.ascii(f"md {k}")),
    "ma": ("arith", 1, lambda c, k: c.ascii(f"ma {k}")),
    "me": ("other", 1, lambda c, k: c.ascii(f"me {k}")),
    "bin-get": ("get", 1, lambda c, k: c.binary(0x00, k.encode())),
    "bin-set": ("set", 1, lambda c, k: c.binary(0x01, k.encode(), b"\0" * 8, b"10")),
    "bin-add": ("set", 1, lambda c, k: c.binary(0x02, k.encode(), b"\0" * 8, b"10")),
    "bin-append": ("set", 1, lambda c, k: c.binary(0x0E, k.encode(), b"", b"1")),
    "bin-delete": ("delete", 1, lambda c, k: c.binary(0x04, k.encode())),
    "bin-incr": ("arith", 1, lambda c, k: c.binary(0x05, k.encode(), struct.pack(">QQI", 1, 0, 0xFFFFFFFF))),
    "bin-touch": ("touch", 1, lambda c, k: c.binary(0x1C, k.encode(), struct.pack(">I", 100))),
    "bin-gat": ("touch", 1, lambda c, k: c.binary(0x1D, k.encode(), struct.pack(">I", 100))),
}
"""name -> (operation, requests it makes, how to send it). Binary ones need a connection of their own."""
