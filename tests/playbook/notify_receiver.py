"""Real receivers of notices: a web service with prepared answers, and programs that store their input."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from fleettrace.playbook.findings import Findings, Severity
from fleettrace.playbook.notify.interface import Notice
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from tests.playbook.rules_evidence import evidence

__all__ = ["Received", "Receiver", "notice", "program"]

AT = 1_790_000_000.25
"""The end of the play."""


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """A web service on its own port. An answer is a status, or seconds of silence; the last one repeats."""

    answers: Sequence[int | float] = (204,)
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return its URL, with a token that no message may show."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/hooks/TOKEN-7f3a"

    def __enter__(self) -> Receiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = len(receiver.received)
                receiver.received.append(Received(self.path, dict(self.headers), body))
                answer = receiver.answers[min(number, len(receiver.answers) - 1)]
                if isinstance(answer, float):
                    receiver.ended.wait(answer)
                    return
                self.send_response(answer)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def program(directory: Path, name: str, script: str) -> str:
    """Write a shell script; return its path."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def notice(
    *keys: str, findings: Findings | None = None, succeeded: bool = True, exit_code: int = 1, play: str = "hot keys"
) -> Notice:
    """Return the notice of a play with a finding for each of these keys."""
    given = evidence(dict.fromkeys(keys, 300) | {"rest": 10})
    rule = compile_rule("key.requests > 100", name="hot", severity=Severity.HIGH)
    found = judge([rule], given) if findings is None else findings
    command = f"fleettrace report {given.report.info.id}"
    return Notice("nightly", play, found, given.report, succeeded, exit_code, AT, report_command=command)
