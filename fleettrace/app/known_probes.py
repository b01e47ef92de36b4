"""The probes of each host's newest check or run: `plan --explain` shows them without a connection."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fleettrace.atomic_file import write_atomically
from fleettrace.node.binaries import default_cache_dir
from fleettrace.summary.run import InstanceResult
from fleettrace.sweep.events import Event, HostFinished
from fleettrace.text_format import rfc3339

__all__ = ["KnownProbe", "KnownProbes", "default_path", "read_known"]

_MAX_BYTES = 64 << 20
"""Bytes of the largest file read: 10,000 hosts with ten instances each take 40 MB."""


@dataclass(frozen=True, slots=True)
class KnownProbe:
    """The probe of one instance, and why that one and no better."""

    where: str
    probe_kind: str | None
    why: str


def default_path() -> Path:
    """Return the path of the file, beside the analyses of binaries."""
    return default_cache_dir().with_name("probes.json")


def read_known(path: Path) -> dict[str, tuple[str, list[KnownProbe]]]:
    """Return by host the time (RFC 3339) and the probes; an unreadable file counts as empty."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        hosts = json.loads(path.read_text("utf-8"))["hosts"]
        return {
            str(host): (str(known["at"]), [KnownProbe(**probe) for probe in known["probes"]])
            for host, known in hosts.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


class KnownProbes:
    """Subscribes to a sweep's events; `save` adds their probes to the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, dict[str, object]] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, HostFinished) and event.result.instances:
            probes = [asdict(_known(instance)) for instance in event.result.instances]
            self._seen[event.host] = {"at": rfc3339(datetime.now(UTC), "seconds"), "probes": probes}

    def save(self) -> None:
        """Write the file, readable by its owner only. Errors are ignored: the file is a convenience."""
        if not self._seen:
            return
        hosts = {
            host: {"at": at, "probes": [asdict(probe) for probe in probes]}
            for host, (at, probes) in read_known(self._path).items()
        }
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._path, json.dumps({"hosts": hosts | self._seen}).encode(), 0o600)


def _known(instance: InstanceResult) -> KnownProbe:
    where = " ".join(f":{port}" for port in instance.ports) or instance.exe
    return KnownProbe(where, instance.probe.probe_kind, instance.probe.why)
