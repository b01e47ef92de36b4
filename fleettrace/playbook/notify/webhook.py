"""Telling a web service: the notice as JSON in a POST, signed, bounded in time, and tried again when that may help."""

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

__all__ = ["WebhookTarget", "signature"]

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
"""Pauses double from the one to the other, and a `Retry-After` asks for no more than this."""


class _Answer(NamedTuple):
    """What one attempt came to."""

    status: int | None
    """None: no answer at all."""
    words: str
    pause_s: float | None = None
    """What the service asked for."""

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may do better: no answer, too many requests, or the service's own trouble."""
        return self.status is None or self.status in (408, 425, 429) or self.status >= 500


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What the header `Fleettrace-Signature` says: HMAC-SHA256 over the timestamp, a dot and the body."""
    return f"sha256={hmac.digest(secret, timestamp.encode() + b'.' + body, 'sha256').hex()}"


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """An HTTP or HTTPS address that takes notices."""

    url: str
    """It may hold a token: nothing but its host is ever shown."""
    secret: Secret | None = None
    """None: not signed."""
    timeout_s: float = 10.0
    """For one attempt, from the name look-up to the end of the answer."""
    retries: int = 3
    on: NotifyWhen = NotifyWhen.CHANGE
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not self.url.isprintable() or " " in self.url:
            raise ValueError("a webhook's url begins with http:// or https:// and a host")
        if not self.url.isascii():
            raise ValueError("a webhook's url is ASCII: expected other characters as %XX, and in a host's name as xn--")
        if not 0 < (_port(self.url) or 1) < 65536:
            raise ValueError("a webhook's url has a port that is none: expected 1 to 65535")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a webhook's url cannot hold a user and a password: sign with a secret instead")

    @property
    def name(self) -> str:
        """The service."""
        parts = urlsplit(self.url)
        return escape_text(f"webhook {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}")

    @property
    def address(self) -> str:
        """The whole of it."""
        return f"webhook\0{self.url}"

    def check(self) -> None:
        """Raise `NotifyError` when its secret cannot be had."""
        if self.secret is not None:
            self.secret.read()

    def tell(self, notice: Notice, news: FindingChanges) -> None:
        """Post the notice. Raises `NotifyError` when no attempt succeeds."""
        secret = None if self.secret is None else self.secret.read()
        body = json.dumps(notice.document(news)).encode()
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
        """Each attempt is signed with its own time; the delivery's id tells that they are one."""
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
        """One attempt, given up after the time limit whatever the service does: a socket's own limit is for each
        read, and a service that sends a byte now and then would hold us for ever."""
        answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(_post(request, self.timeout_s)), daemon=True).start()
        try:
            return answers.get(timeout=self.timeout_s)
        except queue.Empty:
            return _Answer(None, f"no answer within {self.timeout_s:g} s")


def _port(url: str) -> int | None:
    """The port of a url; -1 for one that is none."""
    try:
        port = urlsplit(url).port
    except ValueError:
        return -1
    return -1 if port == 0 else port


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A notice goes where the playbook says, and nowhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow none."""
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
    except Exception as error:  # what answers is somebody else's program, and may say anything
        return _Answer(None, f"no answer that makes sense ({type(error).__name__})")


def _asked_pause(headers: Message) -> float | None:
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() and len(asked) < 6 else None


def _pause(attempt: int, asked_s: float | None) -> float:
    """Seconds before the next attempt: doubled each time, and never the same on every controller."""
    if asked_s is not None:
        return min(asked_s, _LONGEST_PAUSE_S)
    return min(_FIRST_PAUSE_S * 2.0 ** (attempt - 1), _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
