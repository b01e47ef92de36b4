"""Who is told when: on change, every time, again after a failure; and nothing of it is fatal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleettrace.playbook.findings import Certainty, Finding, Findings, Severity, SubjectKind
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.send import notify
from fleettrace.summary.key import Key

AT = 1_790_000_000.0


@dataclass
class Ear:
    """Hears everything; may be deaf."""

    on: NotifyWhen = NotifyWhen.CHANGE
    name: str = "ear"
    address: str = "ear"
    heard: list[tuple[list[str], list[str]]] = field(default_factory=list)
    deaf: Callable[[], None] | None = None

    def check(self) -> None:
        """Nothing to see."""

    def tell(self, _: Notice, news: FindingChanges) -> None:
        """Note what is new and what is gone."""
        if self.deaf is not None:
            self.deaf()
        self.heard.append(([one.shown for one in news.new], [one.message for one in news.gone]))


def finding(key: str, *, event: str | None = None, certainty: Certainty = Certainty.CERTAIN) -> Finding:
    name = None if certainty is Certainty.UNKNOWN else Key.whole(key.encode())
    return Finding("hot", Severity.HIGH, certainty, SubjectKind.KEY, name, key, f"key {key}", event=event)


def play(*found: Finding, succeeded: bool = True) -> Notice:
    return Notice("nightly", "keys", Findings.of(found), None, succeeded, 1 if succeeded else 4, AT)


A, B = finding("a"), finding("b")
UNKNOWN = finding("", certainty=Certainty.UNKNOWN)
NOTHING: tuple[Finding, ...] = ()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def tell(tmp_path: Path, warnings: list[str]) -> Callable[[Ear, Notice], int]:
    return lambda ear, notice: notify([ear], notice, tmp_path / "notified", warnings.append)


Tell = Callable[[Ear, Notice], int]


def test_one_is_told_of_what_is_new_and_of_what_is_gone(tell: Tell, warnings: list[str]) -> None:
    ear = Ear()
    plays = [play(), play(A), play(A), play(A, B), play(B), play(B), play()]
    assert [tell(ear, one) for one in plays] == [0, 1, 0, 1, 1, 0, 1]
    assert ear.heard == [(["a"], []), (["b"], []), ([], ["key a"]), ([], ["key b"])]
    assert warnings == []


def test_every_time_is_every_time(tell: Tell) -> None:
    ear = Ear(on=NotifyWhen.EVERY)
    assert [tell(ear, one) for one in [play(), play(A), play(A), play()]] == [1, 1, 1, 1]
    assert ear.heard == [([], []), (["a"], []), ([], []), ([], ["key a"])]


def test_what_happened_is_new_each_time_and_does_not_go(tell: Tell) -> None:
    ear = Ear()
    plays = [play(finding("a", event="run-1")), play(finding("a", event="run-2")), play()]
    assert [tell(ear, one) for one in plays] == [1, 1, 0]


def test_nobody_is_told_of_what_is_unknown_nor_that_it_is_gone_meanwhile(tell: Tell) -> None:
    ear = Ear()
    assert [tell(ear, one) for one in [play(UNKNOWN), play(A), play(UNKNOWN), play(A), play()]] == [0, 1, 0, 0, 1]
    assert ear.heard == [(["a"], []), ([], ["key a"])]


def test_a_possible_finding_that_becomes_certain_is_the_same(tell: Tell) -> None:
    ear = Ear()
    assert [tell(ear, play(finding("a", certainty=Certainty.POSSIBLE))), tell(ear, play(A))] == [1, 0]


def test_a_play_that_fails_is_told_once_and_keeps_what_stands(tell: Tell) -> None:
    ear = Ear()
    plays = [play(A), play(succeeded=False), play(succeeded=False), play(A), play()]
    assert [tell(ear, one) for one in plays] == [1, 1, 0, 1, 1]
    assert ear.heard == [(["a"], []), ([], []), ([], []), ([], ["key a"])]


def test_what_could_not_be_said_is_said_the_next_time(tell: Tell, warnings: list[str]) -> None:
    def failing() -> None:
        raise NotifyError("the line is dead")

    ear = Ear(deaf=failing)
    assert [tell(ear, play(A)), tell(ear, play(A))] == [0, 0]
    assert warnings == ["ear: the line is dead"] * 2
    ear.deaf = None
    assert [tell(ear, play(A)), tell(ear, play(A))] == [1, 0]


def test_each_target_has_a_memory_of_its_own(tmp_path: Path, warnings: list[str]) -> None:
    def failing() -> None:
        raise ZeroDivisionError

    well, ill = Ear(), Ear(address="other", name="ill", deaf=failing)
    for _ in range(2):
        notify([ill, well], play(A), tmp_path, warnings.append)
    assert (len(well.heard), warnings) == (1, ["ill: not told (ZeroDivisionError)"] * 2)
    other_play = Notice("nightly", "other", Findings((A,)), None, True, 1, AT)
    assert notify([well], other_play, tmp_path, warnings.append) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "other/1"}', '{"schema": "fleettrace/notified/1"}'])
def test_a_damaged_memory_is_told_and_replaced(tell: Tell, tmp_path: Path, warnings: list[str], content: str) -> None:
    ear = Ear()
    tell(ear, play(A))
    (memory,) = (tmp_path / "notified").iterdir()
    memory.write_text(content)
    assert [tell(ear, play(A)), tell(ear, play(A))] == [1, 0]
    assert len(warnings) == 1 and "is damaged and will be replaced" in warnings[0]


def test_a_memory_that_cannot_be_kept_is_no_more_than_a_warning(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "notified").write_text("no folder")
    ear = Ear()
    assert notify([ear], play(A), tmp_path / "notified", warnings.append) == 1
    assert len(warnings) == 2 and "will be told again" in warnings[1]


def test_a_memory_is_its_owners_alone_and_has_no_address(tmp_path: Path, warnings: list[str]) -> None:
    notify([Ear(address="https://x/TOKEN")], play(A), tmp_path / "notified", warnings.append)
    (memory,) = (tmp_path / "notified").iterdir()
    assert (memory.stat().st_mode & 0o777, memory.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "TOKEN" not in memory.read_text()
