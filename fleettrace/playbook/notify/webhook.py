"""Send a notice to a web service: JSON in a POST, signed, with a time limit and retries after transient failures."""

from __future__ import annotations

import hmac
import json
import queue
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from fleettrace import __version__
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.secret import Secret
from fleettrace.report.escape import escape_text
from fleettrace.yaml_reader.tree import Location

__all__ = ["WebhookTarget", "signature"]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
"""Pauses double from the first to the longest; a longer `Retry-After` is cut to the longest."""


class _Answer(NamedTuple):
    """The result of one attempt."""

    status: int | None
    """The HTTP status; None without an answer."""
    words: str
    pause_s: float | None = None
    """Seconds of the service's `Retry-After`."""

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Return whether a retry may succeed: no answer, too many requests, or a server error."""
        return self.status is None or self.status in (408, 425, 429) or self.status >= 500


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the header `Fleettrace-Signature`: HMAC-SHA256 over the timestamp, a dot and the body."""
    return f"sha256={hmac.digest(secret, timestamp.encode() + b'.' + body, 'sha256').hex()}"


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """An HTTP or HTTPS URL that accepts notices."""

    url: str
    """It may hold a token, so only its host is ever shown."""
    secret: Secret | None = None
    """None: not signed."""
    timeout_s: float = 10.0
    """Seconds for one attempt, from the DNS lookup to the end of the answer."""
    retries: int = 3
    on: NotifyWhen = NotifyWhen.CHANGE
    repeat_s: float | None = None
    origin: Location | None = field(default=None, compare=False, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not self.url.isprintable() or " " in self.url:
            raise ValueError("invalid webhook URL: expected http:// or https:// and a host")
        if not self.url.isascii():
            raise ValueError("invalid webhook URL: expected ASCII, other characters as %XX, and in a host name as xn--")
        if not 0 < (_port(self.url) or 1) < 65536:
            raise ValueError("invalid webhook URL: its port is not valid; expected 1 to 65535")
        if parts.username is not None or parts.password is not None:
            raise ValueError("invalid webhook URL: it holds a user and a password; sign with a secret instead")

    @property
    def name(self) -> str:
        """Return the service: scheme, host and port."""
        parts = urlsplit(self.url)
        return escape_text(f"webhook {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}")

    @property
    def address(self) -> str:
        """Return the whole URL."""
        return f"webhook\0{self.url}"

    def check(self) -> None:
        """Raise `NotifyError` when the secret cannot be read."""
        if self.secret is not None:
            self.secret.read()

    def send(self, notice: Notice, changes: FindingChanges) -> None:
        """Post the notice. Raise `NotifyError` when no attempt succeeds."""
        secret = None if self.secret is None else self.secret.read()
        body = json.dumps(notice.document(changes)).encode()
        delivery = uuid4().hex
        answer = _Answer(None, "not tried")
        for attempt in range(self.retries + 1):
            if attempt:
                self.sleep(_pause(attempt, answer.pause_s))
            answer = self._attempt(self._request(body, delivery, secret))
            if answer.good:
                return
            if not answer.may_pass:
                break
        tries = attempt + 1
        raise NotifyError(f"{answer.words}{f', {tries} times' if tries > 1 else ''}")

    def _request(self, body: bytes, delivery: str, secret: bytes | None) -> urllib.request.Request:
        """Return the request. Each attempt has its own timestamp; all of them have the same delivery id."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"fleettrace/{__version__}",
            "Fleettrace-Delivery": delivery,
        }
        if secret is not None:
            timestamp = str(int(time.time()))
            headers["Fleettrace-Timestamp"] = timestamp
            headers["Fleettrace-Signature"] = signature(secret, timestamp, body)
        return urllib.request.Request(self.url, body, headers, method="POST")

    def _attempt(self, request: urllib.request.Request) -> _Answer:
        """Make one attempt within the time limit. The limit of a socket applies to each read, so a service that sends
        a byte now and then could hold the request for ever; the thread bounds the whole of it."""
        answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(_post(request, self.timeout_s)), daemon=True).start()
        try:
            return answers.get(timeout=self.timeout_s)
        except queue.Empty:
            return _Answer(None, f"no answer within {self.timeout_s:g} s")


def _port(url: str) -> int | None:
    """Return the port of a URL; None without one, -1 for an invalid one."""
    try:
        port = urlsplit(url).port
    except ValueError:
        return -1
    return -1 if port == 0 else port


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuse redirects: a notice goes only to the URL in the playbook."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Return None, so that no redirect is followed."""
        del req, fp, code, msg, headers, newurl


def _post(request: urllib.request.Request, timeout_s: float) -> _Answer:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return _Answer(response.status, "")
    except urllib.error.HTTPError as error:
        with error:
            moved = "; redirects are not followed" if 300 <= error.code < 400 else ""
            return _Answer(error.code, f"the answer was {error.code}{moved}", _asked_pause(error.headers))
    except TimeoutError:
        return _Answer(None, f"no answer within {timeout_s:g} s")
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            return _Answer(None, f"no answer within {timeout_s:g} s")
        return _Answer(None, f"cannot be reached: {escape_text(str(getattr(error.reason, 'strerror', error.reason)))}")
    except Exception as error:  # urllib raises many types for an answer that is not HTTP.
        return _Answer(None, f"invalid answer ({type(error).__name__})")


def _asked_pause(headers: Message) -> float | None:
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() and len(asked) < 6 else None


def _pause(attempt: int, asked_s: float | None) -> float:
    """Return the seconds before the next attempt: doubled each time, and random, so that controllers spread."""
    if asked_s is not None:
        return min(asked_s, _LONGEST_PAUSE_S)
    return min(_FIRST_PAUSE_S * 2.0 ** (attempt - 1), _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
