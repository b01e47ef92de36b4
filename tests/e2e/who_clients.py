"""A client of memcached in a process of its own: connects from an address, and asks for a key when it is ordered to.

It reads orders from standard input, one a line: `open`, `close`, `again` (close and open), and `get KEY TIMES`; it
answers each with a line once memcached has answered.

    python -m tests.e2e.who_clients SOURCE SERVER PORT
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

from tests.e2e.command import REPOSITORY

__all__ = ["OtherClient"]


class OtherClient:
    """The client as its parent sees it. `inside` is the beginning of a command line, such as nsenter(1)."""

    def __init__(self, source: str, server: str, port: int, inside: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*inside, sys.executable, "-m", "tests.e2e.who_clients", source, server, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=REPOSITORY,
        )
        # Wait until it runs: a busy machine takes longer for that than some windows are.
        self.order("close")

    def order(self, *words: str) -> None:
        """Give one order and wait until it is carried out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def __enter__(self) -> OtherClient:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: object, _traceback: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()


def _serve(source: str, server: str, port: int) -> None:
    connection: socket.socket | None = None
    for line in sys.stdin:
        order, *words = line.split()
        if connection is not None and order in ("close", "again"):
            connection.close()
        if order in ("open", "again"):
            connection = socket.create_connection((server, port), source_address=(source, 0))
        if order == "get" and connection is not None:
            key, times = words
            for _ in range(int(times)):
                connection.sendall(b"get " + key.encode() + b"\r\n")
                assert connection.recv(4096) == b"END\r\n"
        print("done", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
