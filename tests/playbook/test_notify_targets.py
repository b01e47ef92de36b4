"""What commands, mailboxes, metrics and stamps receive."""

from __future__ import annotations

import email
import email.policy
import json
import os
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleettrace.playbook.findings import Findings
from fleettrace.playbook.notify.command import CommandTarget
from fleettrace.playbook.notify.interface import FindingChanges, NotifyError, ResolvedFinding
from fleettrace.playbook.notify.mail import MailTarget
from fleettrace.playbook.notify.stamp import StampTarget
from fleettrace.playbook.notify.textfile import LAST_SUCCESS, TextfileTarget
from fleettrace.playbook.schema_notify import target_of
from tests.playbook.notify_receiver import AT, notice, program

NO_CHANGES = FindingChanges()
HOSTILE = "a\r\nBcc: evil@example.com\r\n\r\n.\r\n$(reboot)`id`\x1b[31m"
SHOWN = "a\\r\\nBcc: evil@example.com\\r\\n\\r\\n.\\r\\n$(reboot)`id`\\x1b[31m"


def test_command_receives_document_and_arguments(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    path = program(tmp_path, "page", f'cat > {seen}; printf "%s\\n" "$@" > {seen}.arguments; echo output')
    CommandTarget((path, "--team", "$(id) a b")).send(notice(HOSTILE), NO_CHANGES)
    document = json.loads(seen.read_bytes())
    assert document["findings"][0]["name"] == SHOWN
    assert seen.read_bytes().endswith(b"}\n") and seen.read_bytes().isascii()
    assert Path(f"{seen}.arguments").read_text() == "--team\n$(id) a b\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo \"no 'pager' \033[31m\" >&2; exit 3", "PATH ended with exit code 3: no 'pager' \\x1b[31m"),
        ("kill -9 $$", "PATH was killed by signal 9"),
        ("exec sleep 60", "PATH did not end within 0.5 s and was killed"),
        ("sleep 60 & wait", "PATH did not end within 0.5 s and was killed"),
    ],
)
def test_failing_command_reports_exit_and_stderr(tmp_path: Path, script: str, words: str) -> None:
    path = program(tmp_path, "page", script)
    began = time.monotonic()
    with pytest.raises(NotifyError) as caught:
        CommandTarget((path,), timeout_s=0.5 if "sleep" in script else 30.0).send(notice("a"), NO_CHANGES)
    assert str(caught.value).replace(path, "PATH") == words
    assert time.monotonic() - began < 20


def test_command_may_ignore_its_stdin(tmp_path: Path) -> None:
    many = notice(*(f"key:{number:05}" for number in range(2000)))
    CommandTarget((program(tmp_path, "page", "exit 0"),)).send(many, NO_CHANGES)
    with pytest.raises(NotifyError, match="cannot run /none/such: No such file"):
        CommandTarget(("/none/such",)).send(many, NO_CHANGES)


def test_mail_has_headers_and_findings(tmp_path: Path) -> None:
    seen = tmp_path / "mail"
    sendmail = program(tmp_path, "sendmail", f'cat > {seen}; echo "$@" > {seen}.arguments')
    sent = notice(HOSTILE, "b")
    target = MailTarget(("oncall@example.com", "root"), "fleettrace@example.com", sendmail)
    target.send(
        sent, FindingChanges(sent.findings.standing[1:], (ResolvedFinding("1", "old", "low", "key c: was hot"),))
    )
    mail = email.message_from_bytes(seen.read_bytes(), policy=email.policy.default)
    assert Path(f"{seen}.arguments").read_text() == "-t -i\n"
    assert dict(mail.items()) == {
        "To": "oncall@example.com, root",
        "From": "fleettrace@example.com",
        "Subject": "[fleettrace] nightly: hot keys: 2 high",
        "Date": "Mon, 21 Sep 2026 14:13:20 -0000",
        "Auto-Submitted": "auto-generated",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
        "MIME-Version": "1.0",
    }
    assert mail.get_content().splitlines() == [
        "nightly: hot keys: 2 high",
        "  new  high, certain: key b: requests 300 (hot)",
        f"       high, certain: key {SHOWN}: requests 300 (hot)",
        "  gone low: key c: was hot",
        "",
        "1 of 1 host traced; all of it: fleettrace report 20260921T031204Z-5f2c",
    ]


def test_play_name_cannot_add_mail_headers(tmp_path: Path) -> None:
    seen = tmp_path / "mail"
    target = MailTarget(("root",), sendmail=program(tmp_path, "sendmail", f"cat > {seen}"))
    target.send(notice("a", play="x\nBcc: evil@example.com"), NO_CHANGES)
    mail = email.message_from_bytes(seen.read_bytes(), policy=email.policy.default)
    assert (mail["Bcc"], mail["Subject"]) == (None, "[fleettrace] nightly: x\\nBcc: evil@example.com: 1 high")


@pytest.mark.parametrize("address", ["", "a\nBcc: b", "a b", "-oQ/tmp", "a,b", "<a>", '"a"@b', "a@b\r"])
def test_mail_rejects_unsafe_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="is not a mail address"):
        MailTarget((address,))


def samples(path: Path) -> dict[str, dict[tuple[str, ...], float]]:
    """The metrics of a file by name, and then by the values of their labels."""
    families = text_string_to_metric_families(path.read_text())
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_textfile_has_findings_and_times(tmp_path: Path) -> None:
    path = tmp_path / "fleettrace.prom"
    TextfileTarget(path).send(notice("a", "b"), NO_CHANGES)
    metrics = samples(path)
    play_labels = ("nightly", "hot keys")
    assert metrics["fleettrace_audit_findings"][(*play_labels, "high", "certain")] == 2
    assert len(metrics["fleettrace_audit_findings"]) == 9
    assert metrics["fleettrace_audit_succeeded"] == {play_labels: 1}
    assert metrics["fleettrace_audit_exit_code"] == {play_labels: 1}
    assert metrics["fleettrace_audit_hosts_missing"] == {play_labels: 0}
    assert metrics["fleettrace_audit_last_run_timestamp_seconds"] == {play_labels: AT}
    assert metrics[LAST_SUCCESS] == {play_labels: AT}
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["fleettrace.prom"]


def test_failed_play_keeps_time_of_last_success(tmp_path: Path) -> None:
    path, stamp = tmp_path / "fleettrace.prom", tmp_path / "stamp"
    for target in (TextfileTarget(path), StampTarget(stamp)):
        target.send(notice("a"), NO_CHANGES)
    failed = notice(findings=Findings(), succeeded=False, exit_code=4)
    later = type(failed)(**{name: getattr(failed, name) for name in failed.__slots__} | {"at": AT + 3600})
    for target in (TextfileTarget(path), StampTarget(stamp)):
        target.send(later, NO_CHANGES)
    metrics = samples(path)
    play_labels = ("nightly", "hot keys")
    assert metrics[LAST_SUCCESS] == {play_labels: AT}
    assert metrics["fleettrace_audit_last_run_timestamp_seconds"] == {play_labels: AT + 3600}
    assert metrics["fleettrace_audit_succeeded"] == {play_labels: 0}
    assert sum(metrics["fleettrace_audit_findings"].values()) == 0
    assert (stamp.read_text(), stamp.stat().st_mtime) == ("2026-09-21T14:13:20.250Z\n", AT)


def test_plays_share_a_textfile(tmp_path: Path) -> None:
    path = tmp_path / "fleettrace.prom"
    for play in ('one "a"} 1', "two\\", "one", "two\\"):
        TextfileTarget(path).send(notice("a", play=play), NO_CHANGES)
    plays = {labels[1] for labels in samples(path)[LAST_SUCCESS]}
    assert plays == {'one "a"} 1', "two\\", "one"}


def test_missing_directory_is_an_error(tmp_path: Path) -> None:
    for target in (TextfileTarget(tmp_path / "none/x.prom"), StampTarget(tmp_path / "none/x")):
        with pytest.raises(NotifyError, match="its directory does not exist"):
            target.check()
        with pytest.raises(NotifyError, match="cannot write"):
            target.send(notice("a"), NO_CHANGES)


@pytest.mark.parametrize(
    "entry",
    [
        {"command": ["page", "x"], "timeout": 5, "on": "every"},
        {"webhook": "https://chat.example/x", "secret_file": "/etc/key", "retries": 0},
        {"webhook": "https://chat.example/x", "secret_variable": "KEY"},
        {"mail": ["root"], "from": "a@b", "sendmail": "/bin/true"},
        {"textfile": "/tmp/x.prom"},
        {"stamp": "/tmp/x"},
    ],
)
def test_playbook_entry_makes_its_target(entry: dict[str, object]) -> None:
    assert target_of(entry).name.startswith(next(iter(entry)))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "expected exactly one of command, webhook"),
        ({"mail": ["a"], "stamp": "x"}, "expected exactly one of"),
        ({"stamp": "x", "on": "every"}, "on is not an option of stamp: expected no option"),
        (
            {"mail": ["a"], "retries": 1},
            "retries is not an option of mail: expected when, on, repeat, timeout",
        ),
        ({"textfile": "x.txt"}, r"reads only files named \*.prom"),
        (
            {"webhook": "https://x/", "secret_file": "a", "secret_variable": "b"},
            "expected either secret_file or secret_variable",
        ),
        ({"mail": ["a"], "on": "every", "when": "daily"}, "expected one of them"),
        ({"mail": ["a"], "when": "daily", "repeat": 60.0}, "expected no repeat"),
        ({"command": []}, "expected a program and its arguments"),
    ],
)
def test_invalid_entry_names_its_cause(entry: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        target_of(entry)


def test_failed_write_leaves_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fleettrace.prom"
    TextfileTarget(path).send(notice("a"), NO_CHANGES)
    before = path.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotifyError, match="No space left on device"):
        TextfileTarget(path).send(notice("b"), NO_CHANGES)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == (before, 1)
