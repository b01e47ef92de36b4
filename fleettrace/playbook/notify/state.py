"""Store what each target of a play received last, one small file for each play, so that a notice is sent on change.

The state of a target changes only when a notice was sent: a notice that failed is sent the next time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyTarget, ResolvedFinding

__all__ = ["NotifyState"]

SCHEMA = "fleettrace/notified/1"


@dataclass(frozen=True, slots=True)
class _Sent:
    """What one target received last."""

    succeeded: bool = True
    standing: Mapping[str, ResolvedFinding] = field(default_factory=dict)
    """The findings that it received, by id."""


class NotifyState:
    """The state of all targets of one play."""

    def __init__(self, path: Path, sent: dict[str, _Sent], warning: str | None = None) -> None:
        self.path = path
        self.warning = warning
        """Why the stored state could not be read, so that all findings count as new; None when it could."""
        self._sent = sent

    @classmethod
    def of(cls, directory: Path, playbook: str, play: str) -> NotifyState:
        """Read the state of a play from `directory`, which is created for this user alone: the state names keys."""
        digest = sha256(f"{playbook}\0{play}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
        path = directory / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', f'{playbook}-{play}')[:60]}-{digest}.json"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(path, _read(json.loads(path.read_text("utf-8"))))
        except FileNotFoundError:
            return cls(path, {})
        except OSError as error:
            return cls(path, {}, f"cannot read {path}: {error.strerror}; all findings are sent as new")
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(path, {}, f"{path} is damaged and will be replaced; all findings are sent as new")

    def changes(self, target: NotifyTarget, notice: Notice) -> FindingChanges:
        """Return the findings that the target has not received, and those it has received that no longer exist.

        Events (changes since the baseline) are new each time and never resolved. No finding is resolved while a play
        fails, or while its rule could not judge all subjects.
        """
        known = self._of(target)
        standing = notice.findings.standing
        now = {one.id for one in standing}
        open_rules = {one.rule for one in notice.findings.unknown}
        resolved = tuple(
            one
            for one in known.standing.values()
            if notice.succeeded and one.id not in now and one.rule not in open_rules
        )
        new = tuple(one for one in standing if one.event is not None or one.id not in known.standing)
        return FindingChanges(new, resolved, known.succeeded != notice.succeeded)

    def record(self, target: NotifyTarget, notice: Notice, changes: FindingChanges) -> None:
        """Store that the target received the notice. Raise `NotifyError` when the file cannot be written."""
        resolved = {one.id for one in changes.resolved}
        standing = {id_: one for id_, one in self._of(target).standing.items() if id_ not in resolved}
        states = (one for one in notice.findings.standing if one.event is None)
        standing |= {one.id: ResolvedFinding(one.id, one.rule, one.severity, one.message) for one in states}
        self._sent[_key(target)] = _Sent(notice.succeeded, standing)
        try:
            write_atomically(self.path, json.dumps(_written(self._sent)).encode(), 0o600)
        except OSError as error:
            raise NotifyError(f"cannot write {self.path}: {error.strerror}") from None

    def _of(self, target: NotifyTarget) -> _Sent:
        return self._sent.get(_key(target), _Sent())


def _key(target: NotifyTarget) -> str:
    """Return a hash: an address may hold a token."""
    return sha256(target.address.encode("utf-8", "surrogateescape")).hexdigest()


def _read(document: object) -> dict[str, _Sent]:
    """Return the state in a document; raise `ValueError`, `KeyError`, `TypeError` or `AttributeError` for any other."""
    if not isinstance(document, dict) or document["schema"] != SCHEMA:
        raise ValueError("not a state of this version")
    return {
        target: _Sent(bool(one["succeeded"]), {each["id"]: ResolvedFinding(**each) for each in one["standing"]})
        for target, one in document["targets"].items()
    }


def _written(sent: Mapping[str, _Sent]) -> dict[str, object]:
    targets = {
        target: {"succeeded": one.succeeded, "standing": [asdict(each) for each in one.standing.values()]}
        for target, one in sent.items()
    }
    return {"schema": SCHEMA, "targets": targets}
