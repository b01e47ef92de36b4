"""Write a run file, host by host as they finish, without keeping them in memory.

docs/run-files.md describes the format, line by line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from fleettrace.atomic_file import AtomicFile
from fleettrace.errors import write_error
from fleettrace.store.runfile.blocks import block_documents, blocks_of, fingerprints_of
from fleettrace.store.runfile.codec import host_document, run_document, warn_document
from fleettrace.store.runfile.gzip_members import pack
from fleettrace.summary.counts import Summary
from fleettrace.summary.run import HostResult, RunInfo, Warn

__all__ = ["SCHEMA", "RunFileWriter", "sorted_documents"]

SCHEMA = "fleettrace/run-file/1"


class RunFileWriter:
    """Writes one run file, which appears when `finish` is called and not otherwise. Every method raises `ConfigError`
    when the disk refuses the data."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._disk_errors():
            # A run file holds keys, which can be private.
            self._file = AtomicFile(path, mode=0o600)
        self._hosts = 0
        self._rows = 0
        self._checksum = hashlib.sha256()
        self._write(pack({"kind": "header", "schema": SCHEMA}))

    def add(
        self,
        run: str,
        host: HostResult,
        summaries: Mapping[str, Summary],
        warnings: Sequence[Warn] = (),
        place: int = 0,
    ) -> None:
        """Write one host. `summaries` is by instance id (`4711@12345`), `place` is the host's position in the run."""
        instances, data = _packed(summaries)
        document = {
            "kind": "host",
            "run": run,
            "place": place,
            **host_document(host),
            "warnings": [warn_document(warn) for warn in warnings],
            "counted": instances,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        self.copy(document, [data])

    def copy(self, document: Mapping[str, Any], data: Iterable[bytes]) -> None:
        """Write a host's document and the members with its counts, unchanged."""
        member = pack(dict(document))
        self._checksum.update(member)
        self._write(member)
        for piece in data:
            self._write(piece)
        self._hosts += 1
        self._rows += sum(instance["rows"] for instance in document["counted"])

    def finish(self, runs: Iterable[RunInfo], warnings: Iterable[Warn] = ()) -> None:
        """Write the last line, and move the file to its path."""
        end = {
            "kind": "end",
            "runs": sorted_documents(run_document(run) for run in runs),
            "warnings": sorted_documents(warn_document(warn) for warn in warnings),
            "hosts": self._hosts,
            "rows": self._rows,
            "sha256": self._checksum.hexdigest(),
        }
        self._write(pack(end))
        with self._disk_errors():
            self._file.commit()

    def discard(self) -> None:
        """Remove the unfinished file. Do nothing after `finish`."""
        self._file.discard()

    def _write(self, data: bytes) -> None:
        with self._disk_errors():
            self._file.write(data)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self._path, error) from error

    def __enter__(self) -> RunFileWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()


def sorted_documents(documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each distinct document once, in an order that depends only on their content."""
    return [document for _, document in sorted({json.dumps(each, sort_keys=True): each for each in documents}.items())]


def _packed(summaries: Mapping[str, Summary]) -> tuple[list[dict[str, Any]], bytes]:
    """Return the entries of the counted instances in the host's line, and the members with their counts."""
    about, members = [], []
    for instance, summary in sorted(summaries.items()):
        blocks = blocks_of(summary)
        described = []
        index = [pack({"kind": "fingerprints", "rows": len(data) // 4}, data) for data in fingerprints_of(blocks)]
        members.extend(index)
        for rows in blocks:
            block, listed, details = block_documents(rows)
            pair = pack(listed), pack(details)
            members.extend(pair)
            described.append({**block, "size": len(pair[0]), "details_size": len(pair[1])})
        about.append(
            {
                "id": instance,
                "total": summary.total,
                "absent": summary.absent,
                "course": summary.timeline,
                "rows": len(summary.keys),
                "fingerprints": [len(member) for member in index],
                "blocks": described,
            }
        )
    return about, b"".join(members)
