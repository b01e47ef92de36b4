"""What each target of a play was told last, in a small file for each play: so that it is told only of what is new.

A target's memory changes when it was told, and not when that failed: what could not be said is said the next time.
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
class _Told:
    """What one target knows."""

    succeeded: bool = True
    standing: Mapping[str, ResolvedFinding] = field(default_factory=dict)
    """The findings it was told of, by id."""


class NotifyState:
    """The targets' memory of one play."""

    def __init__(self, path: Path, told: dict[str, _Told], trouble: str | None = None) -> None:
        self.path = path
        self.trouble = trouble
        """Why what is kept could not be read: then all findings are new. None: it could."""
        self._told = told

    @classmethod
    def of(cls, folder: Path, playbook: str, play: str) -> NotifyState:
        """The memory of a play, kept in `folder`, which is made where needed, for this user alone: it names keys."""
        whose = sha256(f"{playbook}\0{play}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', f'{playbook}-{play}')[:60]}-{whose}.json"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(path, _read(json.loads(path.read_text("utf-8"))))
        except FileNotFoundError:
            return cls(path, {})
        except OSError as error:
            return cls(path, {}, f"cannot read {path}: {error.strerror}; all findings are told as new")
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(path, {}, f"{path} is damaged and will be replaced; all findings are told as new")

    def news(self, target: NotifyTarget, notice: Notice) -> FindingChanges:
        """What is new to the target: findings that it does not know, and those it knows that are there no more.

        Events (what changed since the baseline) are new each time, and do not go. Nothing goes while a play fails, nor
        what a rule says that could not judge everything this time.
        """
        known = self._of(target)
        standing = notice.findings.standing
        now = {one.id for one in standing}
        open_rules = {one.rule for one in notice.findings.unknown}
        gone = tuple(
            one
            for one in known.standing.values()
            if notice.succeeded and one.id not in now and one.rule not in open_rules
        )
        new = tuple(one for one in standing if one.event is not None or one.id not in known.standing)
        return FindingChanges(new, gone, known.succeeded != notice.succeeded)

    def told(self, target: NotifyTarget, notice: Notice, news: FindingChanges) -> None:
        """Note that the target was told. Raises `NotifyError` when that cannot be written."""
        gone = {one.id for one in news.gone}
        kept = {id_: one for id_, one in self._of(target).standing.items() if id_ not in gone}
        states = (one for one in notice.findings.standing if one.event is None)
        kept |= {one.id: ResolvedFinding(one.id, one.rule, one.severity, one.message) for one in states}
        self._told[_key(target)] = _Told(notice.succeeded, kept)
        try:
            write_atomically(self.path, json.dumps(_written(self._told)).encode(), 0o600)
        except OSError as error:
            raise NotifyError(f"cannot write {self.path}: {error.strerror}") from None

    def _of(self, target: NotifyTarget) -> _Told:
        return self._told.get(_key(target), _Told())


def _key(target: NotifyTarget) -> str:
    """An address may hold a token."""
    return sha256(target.address.encode("utf-8", "surrogateescape")).hexdigest()


def _read(document: object) -> dict[str, _Told]:
    """Raises what comes of a document that is none of ours."""
    if not isinstance(document, dict) or document["schema"] != SCHEMA:
        raise ValueError("no memory of ours")
    return {
        target: _Told(bool(one["succeeded"]), {each["id"]: ResolvedFinding(**each) for each in one["standing"]})
        for target, one in document["targets"].items()
    }


def _written(told: Mapping[str, _Told]) -> dict[str, object]:
    targets = {
        target: {"succeeded": one.succeeded, "standing": [asdict(each) for each in one.standing.values()]}
        for target, one in told.items()
    }
    return {"schema": SCHEMA, "targets": targets}
