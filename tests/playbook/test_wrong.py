"""Invalid playbooks have the errors that the documentation shows."""

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
"""Playbooks with an error in another file."""


def errors(name: str) -> list[str]:
    with pytest.raises(PlaybookError) as caught:
        load_playbooks([Path(name)], play_schema(), {})
    return [str(problem) for problem in caught.value.problems]


def documented(name: str) -> list[str]:
    """Return the lines of the documentation for a playbook."""
    block = DOCUMENTED.partition("The errors of the playbooks in")[2]
    beginning = re.escape(BEGINNINGS.get(name, name))
    return re.findall(rf"^    ({beginning}:\d+:\d+: .*)$", block, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_invalid_playbook_has_documented_errors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WRONG)
    lines = errors(name)
    assert lines
    assert lines == documented(name)


def test_at_least_twenty_invalid_playbooks() -> None:
    assert len(NAMES) >= 20


def test_messages_name_what_was_expected() -> None:
    lines = [line for name in NAMES for line in documented(name)]
    assert [line for line in lines if "expected" not in line and "did you mean" not in line] == [
        line for line in lines if line.startswith(("more/back", "variable-of-itself"))
    ]
