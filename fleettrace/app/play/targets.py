"""Check before any run what the plays' notifications need on this controller."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fleettrace.app.history import store_path
from fleettrace.playbook.model import Play
from fleettrace.playbook.notify.interface import NotifyError
from fleettrace.playbook.problems import Problems

__all__ = ["STATE_DIRECTORY", "check_targets"]

STATE_DIRECTORY = "notified"
"""The directory beside the history for what each target received last."""


def check_targets(plays: Iterable[Play], store: str | None) -> None:
    """Raise `PlaybookError` with each target that could not be notified by this user, at its file and line."""
    problems = Problems()
    state = store_path(store).parent / STATE_DIRECTORY
    for play in plays:
        problems.opened(play.location.file)
        for target in play.notify:
            try:
                target.check()
            except NotifyError as error:
                problems.add(target.origin or play.where("notify"), f"{target.name}: {error}")
        if play.notify and (why := _unwritable(state)) is not None:
            problems.add(play.where("notify"), f"what the targets received is stored in {state}, and {why}")
    problems.check()


def _unwritable(directory: Path) -> str | None:
    """Return why this user cannot write to the directory, which may have to be made; None if it can."""
    found = next(each for each in (directory.absolute(), *directory.absolute().parents) if os.path.lexists(each))
    if not found.is_dir():
        return f"{found} is not a directory: expected one"
    if not os.access(found, os.W_OK | os.X_OK):
        return f"this user cannot write to {found}: change its owner, or name another place with --store"
    return None
