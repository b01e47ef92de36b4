"""Targets receive notices on change, every time, or again after a failure; no failure is fatal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleettrace.playbook.findings import Certainty, Finding, Findings, Severity, SubjectKind
from fleettrace.playbook.notify.digest import MAX_FINDINGS, Digest
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.send import notify
from fleettrace.summary.key import Key

AT = 1_790_000_000.0


@dataclass
class RecordingTarget:
    """Record what it receives; fail where `fail` raises."""

    on: NotifyWhen = NotifyWhen.CHANGE
    repeat_s: float | None = None
    origin: None = None
    name: str = "recorder"
    address: str = "recorder"
    received: list[tuple[list[str], list[str]]] = field(default_factory=list)
    repeated: list[list[str]] = field(default_factory=list)
    digests: list[Digest] = field(default_factory=list)
    fail: Callable[[], None] | None = None

    def check(self) -> None:
        """Accept."""

    def send(self, _: Notice, changes: FindingChanges) -> None:
        """Record what is new and what is resolved."""
        if self.fail is not None:
            self.fail()
        self.repeated.append([one.shown for one in changes.repeated])
        self.digests += [] if changes.digest is None else [changes.digest]
        self.received.append(([one.shown for one in changes.new], [one.message for one in changes.resolved]))


def finding(key: str, *, event: str | None = None, certainty: Certainty = Certainty.CERTAIN) -> Finding:
    name = None if certainty is Certainty.UNKNOWN else Key.whole(key.encode())
    return Finding("hot", Severity.HIGH, certainty, SubjectKind.KEY, name, key, f"key {key}", event=event)


def play(*found: Finding, succeeded: bool = True, at: float = AT) -> Notice:
    return Notice("nightly", "keys", Findings.of(found), None, succeeded, 1 if succeeded else 4, at)


A, B = finding("a"), finding("b")
UNKNOWN = finding("", certainty=Certainty.UNKNOWN)
NOTHING: tuple[Finding, ...] = ()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def send(tmp_path: Path, warnings: list[str]) -> Callable[[RecordingTarget, Notice], int]:
    return lambda target, notice: notify([target], notice, tmp_path / "notified", warnings.append)


Send = Callable[[RecordingTarget, Notice], int]


def test_target_receives_new_and_resolved_findings(send: Send, warnings: list[str]) -> None:
    target = RecordingTarget()
    plays = [play(), play(A), play(A), play(A, B), play(B), play(B), play()]
    assert [send(target, one) for one in plays] == [0, 1, 0, 1, 1, 0, 1]
    assert target.received == [(["a"], []), (["b"], []), ([], ["key a"]), ([], ["key b"])]
    assert warnings == []


def test_on_every_sends_after_each_play(send: Send) -> None:
    target = RecordingTarget(on=NotifyWhen.EVERY)
    assert [send(target, one) for one in [play(), play(A), play(A), play()]] == [1, 1, 1, 1]
    assert target.received == [([], []), (["a"], []), ([], []), ([], ["key a"])]


def test_events_are_always_new_and_never_resolved(send: Send) -> None:
    target = RecordingTarget()
    plays = [play(finding("a", event="run-1")), play(finding("a", event="run-2")), play()]
    assert [send(target, one) for one in plays] == [1, 1, 0]


def test_unknown_findings_neither_send_nor_resolve(send: Send) -> None:
    target = RecordingTarget()
    assert [send(target, one) for one in [play(UNKNOWN), play(A), play(UNKNOWN), play(A), play()]] == [0, 1, 0, 0, 1]
    assert target.received == [(["a"], []), ([], ["key a"])]


def test_possible_finding_that_becomes_certain_is_not_new(send: Send) -> None:
    target = RecordingTarget()
    assert [send(target, play(finding("a", certainty=Certainty.POSSIBLE))), send(target, play(A))] == [1, 0]


def test_failed_play_is_sent_once_and_resolves_nothing(send: Send) -> None:
    target = RecordingTarget()
    plays = [play(A), play(succeeded=False), play(succeeded=False), play(A), play()]
    assert [send(target, one) for one in plays] == [1, 1, 0, 1, 1]
    assert target.received == [(["a"], []), ([], []), ([], []), ([], ["key a"])]


def test_failed_notice_is_sent_again(send: Send, warnings: list[str]) -> None:
    def failing() -> None:
        raise NotifyError("connection lost")

    target = RecordingTarget(fail=failing)
    assert [send(target, play(A)), send(target, play(A))] == [0, 0]
    assert warnings == ["recorder: connection lost"] * 2
    target.fail = None
    assert [send(target, play(A)), send(target, play(A))] == [1, 0]


def test_each_target_has_its_own_state(tmp_path: Path, warnings: list[str]) -> None:
    def failing() -> None:
        raise ZeroDivisionError

    working, broken = RecordingTarget(), RecordingTarget(address="other", name="broken", fail=failing)
    for _ in range(2):
        notify([broken, working], play(A), tmp_path, warnings.append)
    assert (len(working.received), warnings) == (1, ["broken: not sent (ZeroDivisionError)"] * 2)
    other_play = Notice("nightly", "other", Findings((A,)), None, True, 1, AT)
    assert notify([working], other_play, tmp_path, warnings.append) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "other/1"}', '{"schema": "fleettrace/notified/1"}'])
def test_damaged_state_warns_and_is_replaced(send: Send, tmp_path: Path, warnings: list[str], content: str) -> None:
    target = RecordingTarget()
    send(target, play(A))
    (path,) = (tmp_path / "notified").iterdir()
    path.write_text(content)
    assert [send(target, play(A)), send(target, play(A))] == [1, 0]
    assert len(warnings) == 1 and "is damaged and will be replaced" in warnings[0]


def test_unwritable_state_is_only_a_warning(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "notified").write_text("not a directory")
    target = RecordingTarget()
    assert notify([target], play(A), tmp_path / "notified", warnings.append) == 1
    assert len(warnings) == 2 and "will be sent again" in warnings[1]


def test_state_is_private_and_holds_no_address(tmp_path: Path, warnings: list[str]) -> None:
    notify([RecordingTarget(address="https://x/TOKEN")], play(A), tmp_path / "notified", warnings.append)
    (path,) = (tmp_path / "notified").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "TOKEN" not in path.read_text()


HOUR, DAY = 3600.0, 86_400.0


def test_persisting_finding_is_repeated_at_the_given_rate(send: Send) -> None:
    target = RecordingTarget(repeat_s=6 * HOUR)
    sent = [send(target, play(A, at=AT + hour * HOUR)) for hour in range(14)]
    assert [hour for hour, one in enumerate(sent) if one] == [0, 6, 12]
    assert (target.received[1], target.repeated[1]) == (([], []), ["a"])
    assert send(target, play(at=AT + 14 * HOUR)) == 1
    assert target.received[-1] == ([], ["key a"])


def test_each_finding_has_its_own_rate(send: Send) -> None:
    target = RecordingTarget(repeat_s=6 * HOUR)
    for hour in range(9):
        send(target, play(A, *((B,) if hour >= 2 else ()), at=AT + hour * HOUR))
    assert target.repeated == [[], [], ["a"], ["b"]]


def test_clock_that_stepped_back_repeats_once(send: Send) -> None:
    target = RecordingTarget(repeat_s=6 * HOUR)
    send(target, play(A, at=AT + 10 * DAY))
    assert [send(target, play(A, at=AT + hour * HOUR)) for hour in range(4)] == [1, 0, 0, 0]


def test_without_a_rate_nothing_is_repeated(send: Send) -> None:
    target = RecordingTarget()
    assert sum(send(target, play(A, at=AT + hour * DAY)) for hour in range(9)) == 1


def test_digest_is_sent_once_a_day(send: Send) -> None:
    target = RecordingTarget(on=NotifyWhen.DAILY)
    for hour in range(72):
        found = [A] if hour % 24 == 3 else []
        send(target, play(*found, succeeded=hour != 30, at=AT + hour * HOUR))
    assert 2 <= len(target.digests) <= 3
    second = target.digests[1]
    assert (second.runs, second.failed) == (24, 1)
    assert [(one.message, one.runs) for one in second.findings.values()] == [("key a", 1)]
    assert second.summary == "digest: 1 finding in 24 runs, 1 of them failed"
    assert "high, certain: key a (in 1 of 24 runs, last at " in second.lines()[0]


def test_digest_waits_for_a_target_that_fails(send: Send) -> None:
    target = RecordingTarget(on=NotifyWhen.DAILY)
    send(target, play(A))
    target.fail = refuse
    assert [send(target, play(at=AT + DAY + hour * HOUR)) for hour in range(2)] == [0, 0]
    target.fail = None
    assert send(target, play(B, at=AT + DAY + 3 * HOUR)) == 1
    (digest,) = target.digests
    assert (digest.runs, [one.message for one in digest.findings.values()]) == (4, ["key a", "key b"])


def test_digest_and_immediate_notices_share_an_address(send: Send) -> None:
    now, daily = RecordingTarget(), RecordingTarget(on=NotifyWhen.DAILY)
    for hour in range(0, 49, 24):
        for target in (now, daily):
            send(target, play(A, at=AT + hour * HOUR))
    assert (len(now.received), len(daily.digests)) == (1, 2)


def test_digest_is_bounded() -> None:
    many = tuple(finding(f"k{number}") for number in range(MAX_FINDINGS + 20))
    digest = Digest.begun(AT).with_run(many, succeeded=True, at=AT)
    assert (len(digest.findings), digest.omitted, len(digest.lines())) == (MAX_FINDINGS, 20, MAX_FINDINGS + 1)
    assert Digest.read(digest.stored()) == digest


def test_omitted_findings_count_once_over_runs() -> None:
    many = tuple(finding(f"k{number}") for number in range(MAX_FINDINGS + 20))
    digest = Digest.begun(AT)
    for run in range(24):
        digest = digest.with_run(many, succeeded=True, at=AT + run)
    assert digest.summary == f"digest: at least {MAX_FINDINGS + 20} findings in 24 runs"
    assert digest.lines()[-1] == "  and at least 20 more"


DIGEST = '"day": "d", "since": %s, "runs": 1, "failed": 0, "omitted": 0, "findings": [%s]'
FINDING = '{"id": "i", "rule": "r", "severity": "%s", "certainty": "certain", "message": "m", "runs": 1, "last": %s}'


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        DIGEST % ("Infinity", ""),
        DIGEST % ("NaN", ""),
        DIGEST % ("1", FINDING % ("high", "1e300")),
        DIGEST % ("1", FINDING % ("odd", "1")),
    ],
    ids=["deep", "endless", "no number", "far future", "severity"],
)
def test_damaged_digest_is_replaced(send: Send, tmp_path: Path, warnings: list[str], content: str) -> None:
    target = RecordingTarget(on=NotifyWhen.DAILY)
    send(target, play(A))
    (path,) = (tmp_path / "notified").iterdir()
    key = next(iter(json.loads(path.read_text())["targets"]))
    sent = f'{{"succeeded": true, "standing": [], "digest": {{{content}}}}}'
    document = f'{{"schema": "fleettrace/notified/1", "targets": {{"{key}": {sent}}}}}'
    path.write_text(content if content.startswith("[") else document)
    send(target, play(A))
    assert warnings == [f"{path} is damaged and will be replaced; all findings are sent as new"]
    send(target, play(A, at=AT + 86_400))
    assert [len(one.findings) for one in target.digests] == [1]


def refuse() -> None:
    raise NotifyError("no")


def test_spare_state_serves_while_the_first_is_unwritable(tmp_path: Path, warnings: list[str]) -> None:
    directory, spare = tmp_path / "notified", tmp_path / "spare"
    spare.mkdir()
    directory.write_text("no directory")
    target = RecordingTarget()
    for _ in range(3):
        notify([target], play(A), directory, warnings.append, spare)
    assert len(target.received) == 1
    directory.unlink()
    for _ in range(2):
        notify([target], play(A, B), directory, warnings.append, spare)
    assert target.received[1:] == [(["b"], [])]
    assert list(spare.iterdir()) == []
