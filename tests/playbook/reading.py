"""Read playbooks in tests, with the options of the real command line."""

from __future__ import annotations

from pathlib import Path

from fleettrace.app.play.options import play_schema
from fleettrace.app.play.plays import extra_variables
from fleettrace.playbook.load import load_playbooks
from fleettrace.playbook.model import Play
from fleettrace.playbook.problems import PlaybookError

__all__ = ["plays", "problems"]


def plays(directory: Path, text: str, *extra: str) -> list[Play]:
    """Return the plays of a playbook, written to `directory`, with `-e` for each of `extra`."""
    path = directory / "playbook.yaml"
    path.write_text(text)
    return list(load_playbooks([path], play_schema(), extra_variables(extra).nodes).plays)


def problems(directory: Path, text: str, *extra: str) -> list[str]:
    """Return the problems of a playbook, as `line:column: message`."""
    try:
        plays(directory, text, *extra)
    except PlaybookError as error:
        return [str(problem).removeprefix(f"{directory}/playbook.yaml:") for problem in error.problems]
    return []
