"""Telling all targets of a play, each when it wants to be told. Nothing that fails here costs the play anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fleettrace.playbook.notify.interface import Notice, NotifyError, NotifyTarget, NotifyWhen
from fleettrace.playbook.notify.state import NotifyState

__all__ = ["notify"]


def notify(targets: Sequence[NotifyTarget], notice: Notice, folder: Path, warn: Callable[[str], None]) -> int:
    """Tell each target of `notice`, if it wants to be told; gives how many were.

    What each was told last is kept in `folder`, beside the history. `warn` is given a line for whatever fails, and
    nothing is raised.
    """
    if not targets:
        return 0
    memory = NotifyState.of(folder, notice.playbook, notice.play)
    if memory.trouble is not None:
        warn(memory.trouble)
    return sum(_tell(target, notice, memory, warn) for target in targets)


def _tell(target: NotifyTarget, notice: Notice, memory: NotifyState, warn: Callable[[str], None]) -> bool:
    news = memory.news(target, notice)
    if target.on is NotifyWhen.CHANGE and not news:
        return False
    try:
        target.tell(notice, news)
    except NotifyError as error:
        warn(f"{target.name}: {error}")
        return False
    except Exception as error:  # a fault of ours must cost the play nothing either
        warn(f"{target.name}: not told ({type(error).__name__})")
        return False
    try:
        memory.told(target, notice, news)
    except NotifyError as error:
        warn(f"{target.name}: it was told, and will be told again: {error}")
    return True
