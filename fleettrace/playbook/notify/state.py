"""Store what each target of a play received last, one small file for each play, so that a notice is sent on change.

The state of a target changes only when a notice was sent: a notice that failed is sent the next time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.playbook.notify.digest import Digest
from fleettrace.playbook.notify.interface import (
    FindingChanges,
    Notice,
    NotifyError,
    NotifyTarget,
    NotifyWhen,
    ResolvedFinding,
)

__all__ = ["NotifyState"]

SCHEMA = "fleettrace/notified/1"

_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What one target received last."""

    succeeded: bool = True
    standing: Mapping[str, ResolvedFinding] = field(default_factory=dict)
    """The findings that it received, by id."""
    at: Mapping[str, float] = field(default_factory=dict)
    """When it was last notified of each, in seconds since 1970."""
    digest: Digest | None = None
    """What the runs since its last digest found."""


class NotifyState:
    """The state of all targets of one play."""

    def __init__(
        self, path: Path, sent: dict[str, _Sent], warning: str | None = None, spare: Path | None = None
    ) -> None:
        self.path = path
        self._spare = spare
        self.warning = warning
        """Why the stored state could not be read, so that all findings count as new; None when it could."""
        self._sent = sent

    @classmethod
    def of(cls, directory: Path, playbook: str, play: str, spare: Path | None = None) -> NotifyState:
        """Read the state of a play from `directory`, which is created for this user alone: the state names keys. The
        state in `spare` is newer where there is one: `directory` could not be written then."""
        digest = sha256(f"{playbook}\0{play}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
        name = f"{re.sub(r'[^A-Za-z0-9._-]+', '_', f'{playbook}-{play}')[:60]}-{digest}.json"
        path, other = directory / name, None if spare is None else spare / f"notified-{name}"
        if other is not None:
            with suppress(OSError, *_DAMAGED):
                return cls(path, _read(json.loads(other.read_text("utf-8"))), spare=other)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(path, _read(json.loads(path.read_text("utf-8"))), spare=other)
        except FileNotFoundError:
            return cls(path, {}, spare=other)
        except OSError as error:
            warning = f"cannot read {path}: {error.strerror}; all findings are sent as new"
            return cls(path, {}, warning, spare=other)
        except _DAMAGED:
            return cls(path, {}, f"{path} is damaged and will be replaced; all findings are sent as new", spare=other)

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
        repeated = tuple(one for one in standing if one not in new and _due(target, known.at.get(one.id), notice.at))
        return FindingChanges(new, resolved, known.succeeded != notice.succeeded, repeated)

    def gather(self, target: NotifyTarget, notice: Notice) -> Digest | None:
        """Add the run to the target's digest; return the digest if it is due. Raise `NotifyError` when the file cannot
        be written."""
        known = self._of(target)
        before = known.digest or Digest.begun(notice.at)
        digest = before.with_run(notice.findings.standing, notice.succeeded, notice.at)
        self._sent[_key(target)] = replace(known, digest=digest)
        self._write()
        return digest if digest.due(notice.at) else None

    def record(self, target: NotifyTarget, notice: Notice, changes: FindingChanges) -> None:
        """Store that the target received the notice. Raise `NotifyError` when the file cannot be written."""
        resolved = {one.id for one in changes.resolved}
        standing = {id_: one for id_, one in self._of(target).standing.items() if id_ not in resolved}
        states = (one for one in notice.findings.standing if one.event is None)
        standing |= {one.id: ResolvedFinding(one.id, one.rule, one.severity, one.message) for one in states}
        notified = {one.id for one in (*changes.new, *changes.repeated)}
        at = {id_: notice.at if id_ in notified else self._of(target).at.get(id_, notice.at) for id_ in standing}
        digest = None if changes.digest is None else Digest.begun(notice.at)
        self._sent[_key(target)] = _Sent(notice.succeeded, standing, at, digest)
        self._write()

    def _write(self) -> None:
        data = json.dumps(_written(self._sent)).encode()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.path, data, 0o600)
        except OSError as error:
            if self._spare is not None:
                with suppress(OSError):
                    write_atomically(self._spare, data, 0o600)
                    return
            raise NotifyError(f"cannot write {self.path}: {error.strerror}") from None
        if self._spare is not None:
            self._spare.unlink(missing_ok=True)

    def _of(self, target: NotifyTarget) -> _Sent:
        return self._sent.get(_key(target), _Sent())


def _key(target: NotifyTarget) -> str:
    """Return a hash: an address may hold a token. A digest to an address has a state of its own."""
    address = f"{target.address}\0daily" if target.on is NotifyWhen.DAILY else target.address
    return sha256(address.encode("utf-8", "surrogateescape")).hexdigest()


def _due(target: NotifyTarget, last: float | None, now: float) -> bool:
    """Return whether a persisting finding is repeated: also one sent in the future, for the clock has stepped back."""
    if target.repeat_s is None:
        return False
    return last is None or last > now or now - last >= target.repeat_s


def _read(document: object) -> dict[str, _Sent]:
    """Return the state in a document; raise one of `_DAMAGED` for any other."""
    if not isinstance(document, dict) or document["schema"] != SCHEMA:
        raise ValueError("not a state of this version")
    return {
        target: _Sent(
            bool(one["succeeded"]),
            {each["id"]: ResolvedFinding(**each) for each in one["standing"]},
            {str(id_): float(at) for id_, at in one.get("at", {}).items()},
            None if one.get("digest") is None else Digest.read(one["digest"]),
        )
        for target, one in document["targets"].items()
    }


def _written(sent: Mapping[str, _Sent]) -> dict[str, object]:
    targets = {
        target: {
            "succeeded": one.succeeded,
            "standing": [asdict(each) for each in one.standing.values()],
            "at": dict(one.at),
            "digest": None if one.digest is None else one.digest.stored(),
        }
        for target, one in sent.items()
    }
    return {"schema": SCHEMA, "targets": targets}
