"""Wrong playbooks are told what is wrong, where, and what was expected, exactly as the documentation shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleettrace.app.play.options import play_schema
from fleettrace.playbook.load import load_playbooks
from fleettrace.playbook.problems import PlaybookError

WRONG = Path(__file__).parent / "wrong"
NAMES = sorted(path.name for path in WRONG.glob("*.yaml"))
DOCUMENTED = (Path(__file__).parents[2] / "docs/playbooks.md").read_text()
BEGINNINGS = {"include-circle.yaml": "more/back.yaml"}
"""Where the file that is told of is another one."""


def told(name: str) -> list[str]:
    with pytest.raises(PlaybookError) as caught:
        load_playbooks([Path(name)], play_schema(), {})
    return [str(problem) for problem in caught.value.problems]


def documented(name: str) -> list[str]:
    """The lines that the last block of the documentation has for a playbook."""
    block = DOCUMENTED.partition("What the playbooks of")[2]
    beginning = re.escape(BEGINNINGS.get(name, name))
    return re.findall(rf"^    ({beginning}:\d+:\d+: .*)$", block, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_playbook_is_told_what_the_documentation_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WRONG)
    lines = told(name)
    assert lines
    assert lines == documented(name)


def test_there_are_at_least_twenty() -> None:
    assert len(NAMES) >= 20


def test_every_message_says_what_was_expected_or_meant() -> None:
    lines = [line for name in NAMES for line in documented(name)]
    assert [line for line in lines if "expected" not in line and "did you mean" not in line] == [
        line for line in lines if line.startswith("variable-of-itself")
    ]
