"""docs/rules.md describes notices, metrics and targets as they are."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent, indent

import pytest

from fleettrace.app.play.options import play_schema
from fleettrace.playbook.load import load_playbooks
from fleettrace.playbook.notify.command import CommandTarget
from fleettrace.playbook.notify.interface import FindingChanges, NotifyError, NotifyWhen, ResolvedFinding
from fleettrace.playbook.notify.mail import MailTarget
from fleettrace.playbook.notify.secret import Secret
from fleettrace.playbook.notify.stamp import StampTarget
from fleettrace.playbook.notify.textfile import TextfileTarget
from fleettrace.playbook.notify.webhook import WebhookTarget
from tests.playbook.notify_receiver import notice

DOCS = (Path(__file__).parents[2] / "docs/rules.md").read_text()


def section(title: str) -> str:
    return re.split(r"^##+ ", DOCS.partition(f"# {title}\n")[2], maxsplit=1, flags=re.M)[0]


def rows(title: str) -> dict[str, str]:
    """Return the table of a section: each name in the first column, and its text."""
    found = re.findall(r"^\| (`.+?`) \| (.+) \|$", section(title), re.M)
    return {name: text for names, text in found for name in re.findall(r"`([^`]+)`", names)}


def words(text: str) -> list[str]:
    """Return the names in a text, without those in parentheses."""
    return re.findall(r"`([a-z_0-9]+)`", re.sub(r"\([^)]*\)", "", text))


def test_notice_has_documented_fields() -> None:
    sent = notice("a")
    document = sent.document(FindingChanges(sent.findings.standing, (ResolvedFinding("1", "r", "low", "m"),)))
    table = rows("The document")
    assert list(document) == list(table)
    assert list(document["findings"][0]) == words(table["findings"])
    assert list(document["gone"][0]) == words(table["gone"])
    figure = re.search(r"`figures` \(each with ([^;]*);", table["findings"])
    assert figure is not None
    assert list(document["findings"][0]["figures"][0]) == words(figure[1])
    assert document["schema"] in table["schema"]


def test_textfile_has_documented_metrics(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    TextfileTarget(path).send(notice("a"), FindingChanges())
    metrics = set(re.findall(r"^(\w+)\{", path.read_text(), re.M))
    assert metrics == {name for name in rows("Metrics, and a stamp") if name.startswith("fleettrace_")}


def test_example_has_every_kind_of_target(tmp_path: Path) -> None:
    example = "\n".join(line for line in section("Notifications").splitlines() if line.startswith("    "))
    playbook = tmp_path / "audit.yaml"
    playbook.write_text(f"- name: fleet\n  hosts: all\n{indent(dedent(example), '  ')}\n")
    (loaded,) = load_playbooks([playbook], play_schema(), {}).plays
    assert [type(target) for target in loaded.notify] == [
        CommandTarget,
        WebhookTarget,
        MailTarget,
        MailTarget,
        TextfileTarget,
        StampTarget,
    ]
    assert [target.on for target in loaded.notify] == [
        NotifyWhen.CHANGE,
        NotifyWhen.CHANGE,
        NotifyWhen.CHANGE,
        NotifyWhen.DAILY,
        NotifyWhen.EVERY,
        NotifyWhen.EVERY,
    ]
    assert [target.repeat_s for target in loaded.notify] == [None, None, 6 * 3600.0, None, None, None]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_documented_receiver_accepts_only_genuine_notices(tmp_path: Path, end: bytes) -> None:
    key = tmp_path / "webhook.key"
    key.write_bytes(b"0123456789abcdef" + end)
    key.chmod(0o600)
    lines = dedent("\n".join(line for line in section("A webhook").splitlines() if line.startswith("    ")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = lines.replace("/etc/fleettrace/webhook.key", str(key)).replace("8080", str(port))
    sent = notice("a")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        try:
            url = f"http://127.0.0.1:{port}/"
            genuine = WebhookTarget(url, Secret(file=key), retries=5, sleep=lambda _: time.sleep(0.3))
            genuine.send(sent, FindingChanges())
            assert running.stdout is not None
            assert running.stdout.readline().decode().strip() == sent.headline(FindingChanges())
            other = tmp_path / "other.key"
            other.write_bytes(b"fedcba9876543210")
            other.chmod(0o600)
            with pytest.raises(NotifyError, match="the answer was 403"):
                WebhookTarget(url, Secret(file=other), retries=0).send(sent, FindingChanges())
        finally:
            running.kill()
