"""What the receiver of a webhook sees, and what happens when it fails."""

from __future__ import annotations

import hmac
import time
from pathlib import Path

import pytest

from fleettrace.playbook.notify.interface import FindingChanges, NotifyError
from fleettrace.playbook.notify.secret import Secret
from fleettrace.playbook.notify.webhook import WebhookTarget
from tests.playbook.notify_receiver import Receiver, notice

SECRET = b"0123456789abcdef0123456789abcdef"
NO_CHANGES = FindingChanges()


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    path = tmp_path / "webhook.key"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    return Secret(file=path)


def test_webhook_posts_the_documented_document() -> None:
    sent = notice("a")
    with Receiver() as receiver:
        WebhookTarget(receiver.url).send(sent, FindingChanges(sent.findings.standing))
    (request,) = receiver.received
    assert (request.path, request.headers["Content-Type"]) == ("/hooks/TOKEN-7f3a", "application/json")
    assert not {"Fleettrace-Signature", "Fleettrace-Timestamp"} & set(request.headers)
    document = request.document
    fields = "schema playbook play run succeeded exit_code problems summary findings new gone repeated digest report"
    assert list(document) == fields.split()
    assert document["schema"] == "fleettrace/notice/1"
    assert document["summary"] == "nightly: hot keys: 1 high"
    assert [one["name"] for one in document["findings"]] == ["a"]
    assert document["new"] == [document["findings"][0]["id"]]
    assert document["report"]["run"]["id"] == document["run"]


def test_hostile_keys_arrive_escaped_in_ascii() -> None:
    with Receiver() as receiver:
        WebhookTarget(receiver.url).send(notice("\x1b[31mred\u202e"), NO_CHANGES)
    (request,) = receiver.received
    assert request.body.isascii()
    assert request.document["findings"][0]["name"] == "\\x1b[31mred\\u202e"


def test_signature_proves_the_sender(secret: Secret) -> None:
    with Receiver() as receiver:
        WebhookTarget(receiver.url, secret).send(notice("a"), NO_CHANGES)
    (request,) = receiver.received
    signature, timestamp = request.headers["Fleettrace-Signature"], request.headers["Fleettrace-Timestamp"]
    expected = hmac.new(SECRET, timestamp.encode() + b"." + request.body, "sha256").hexdigest()
    assert hmac.compare_digest(f"sha256={expected}", signature) and abs(time.time() - int(timestamp)) < 300


def test_transient_failures_are_retried_with_backoff() -> None:
    pauses: list[float] = []
    with Receiver(answers=(503, 429, 500, 200)) as receiver:
        WebhookTarget(receiver.url, sleep=pauses.append).send(notice("a"), NO_CHANGES)
    assert len(receiver.received) == 4
    assert len({request.headers["Fleettrace-Delivery"] for request in receiver.received}) == 1
    assert [0.5, 1.0, 2.0] <= pauses <= [1.0, 2.0, 4.0]


def test_retry_after_sets_the_pause() -> None:
    pauses: list[float] = []
    with Receiver(answers=(429, 200), headers={"Retry-After": "7"}) as receiver:
        WebhookTarget(receiver.url, sleep=pauses.append).send(notice("a"), NO_CHANGES)
    assert pauses == [7.0]


@pytest.mark.parametrize(
    ("answer", "words", "requests"),
    [
        (403, "the answer was 403", 1),
        (302, "the answer was 302; redirects are not followed", 1),
        (500, "the answer was 500, 3 times", 3),
    ],
)
def test_error_reports_the_last_answer(answer: int, words: str, requests: int) -> None:
    with Receiver(answers=(answer,), headers={"Location": "/elsewhere"}) as receiver:
        target = WebhookTarget(receiver.url, retries=2, sleep=lambda _: None)
        with pytest.raises(NotifyError) as caught:
            target.send(notice("a"), NO_CHANGES)
    assert (str(caught.value), len(receiver.received)) == (words, requests)


def test_attempt_ends_at_its_time_limit() -> None:
    with Receiver(answers=(20.0,)) as receiver:
        target = WebhookTarget(receiver.url, timeout_s=0.3, retries=1, sleep=lambda _: None)
        began = time.monotonic()
        with pytest.raises(NotifyError, match=r"no answer within 0\.3 s, 2 times"):
            target.send(notice("a"), NO_CHANGES)
        assert time.monotonic() - began < 10


def test_refused_connection_is_an_error() -> None:
    with Receiver() as receiver:
        url = receiver.url
    with pytest.raises(NotifyError, match="cannot be reached: Connection refused"):
        WebhookTarget(url, retries=0).send(notice("a"), NO_CHANGES)


def test_name_shows_neither_token_nor_secret(secret: Secret) -> None:
    target = WebhookTarget("https://chat.example:8443/hooks/TOKEN-7f3a?key=TOKEN-7f3a", secret)
    assert target.name == "webhook https://chat.example:8443"
    assert SECRET.decode() not in repr(target)


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "https://u:p@chat.example/", "http://x/\nA: b", "http://x/ y", "http://x/ü"]
)
def test_webhook_rejects_invalid_urls(url: str) -> None:
    with pytest.raises(ValueError, match="invalid webhook URL"):
        WebhookTarget(url)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_webhook_rejects_invalid_ports(port: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 65535"):
        WebhookTarget(f"http://chat.example:{port}/")


def test_check_reports_bad_secret_files(tmp_path: Path) -> None:
    path = tmp_path / "webhook.key"
    target = WebhookTarget("http://127.0.0.1:9/", Secret(file=path))
    problems = []
    for content, mode in ((None, 0), (b"x" * 32, 0o644), (b"short\n", 0o600)):
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
        with pytest.raises(NotifyError) as caught:
            target.check()
        problems.append(str(caught.value).replace(str(path), "FILE"))
    assert problems == [
        "cannot read the secret in FILE: No such file or directory",
        "other users can read the secret in FILE: run chmod 600 FILE",
        "the secret in FILE is too short: expected 16 bytes or more (`openssl rand -hex 32` makes one)",
    ]


def test_secret_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret(variable="HOOK_SECRET")
    with pytest.raises(NotifyError, match="the environment variable HOOK_SECRET of the secret is not set"):
        secret.read({})
    monkeypatch.setenv("HOOK_SECRET", SECRET.decode())
    assert secret.read() == SECRET
