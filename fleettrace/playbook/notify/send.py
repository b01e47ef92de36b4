"""Send the notice of a play to its targets. A failure here is a warning and does not change the play's outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyTarget, NotifyWhen
from fleettrace.playbook.notify.state import NotifyState
from fleettrace.report.escape import escape_text

__all__ = ["notify"]


def notify(
    targets: Sequence[NotifyTarget],
    notice: Notice,
    directory: Path,
    warn: Callable[[str], None],
    spare: Path | None = None,
) -> int:
    """Send `notice` to each target for which it is due; return how many received it.

    `directory`, beside the history, stores what each target received last; `spare` does while that cannot be written,
    so that a full disk is reported once. `warn` receives a line for each failure; the function raises nothing.
    """
    if not targets:
        return 0
    state = NotifyState.of(directory, notice.playbook, notice.play, spare)
    if state.warning is not None:
        warn(state.warning)
    return sum(_send(target, notice, state, warn) for target in targets)


def _due_changes(target: NotifyTarget, notice: Notice, state: NotifyState) -> FindingChanges | None:
    """Return what the target is notified of now; None for nothing. Raise `NotifyError`."""
    if target.on is NotifyWhen.DAILY:
        digest = state.gather(target, notice)
        return None if digest is None else FindingChanges(digest=digest)
    changes = state.changes(target, notice)
    return changes if changes or target.on is NotifyWhen.EVERY else None


def _send(target: NotifyTarget, notice: Notice, state: NotifyState, warn: Callable[[str], None]) -> bool:
    try:
        changes = _due_changes(target, notice, state)
    except NotifyError as error:
        warn(f"{_who(target)}: the digest lacks this run: {error}")
        return False
    if changes is None:
        return False
    try:
        target.send(notice, changes)
    except NotifyError as error:
        warn(f"{_who(target)}: {error}")
        return False
    except Exception as error:  # A defect in a target must not fail the play.
        warn(f"{_who(target)}: not sent ({type(error).__name__})")
        return False
    try:
        state.record(target, notice, changes)
    except NotifyError as error:
        warn(f"{_who(target)}: sent, and will be sent again: {error}")
    return True


def _who(target: NotifyTarget) -> str:
    """Return the target's name, after the file and line of its entry."""
    place = target.origin
    return target.name if place is None else f"{escape_text(place.file)}:{place.line}: {target.name}"
