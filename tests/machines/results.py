"""Store the results of the machines, and write the tables of docs/machines.md from them.

    python -m tests.machines.results     # write the tables again

Each cell keeps its newest result, so a run of some cells updates only their rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.machines.cells import LOADS, NODES, PREEMPTED
from tests.machines.debian import machines_cache
from tests.machines.load import Loaded
from tests.machines.programs import PROGRAMS
from tests.written_table import write_between

__all__ = ["DOCUMENT", "keep_load", "keep_node", "write"]

DOCUMENT = Path(__file__).parents[2] / "docs/machines.md"
_BEGIN, _END = "<!-- written by make test-kernels -->", "<!-- end -->"


def keep_load(name: str, loaded: Loaded) -> None:
    """Store the verdicts of one boot."""
    _keep(
        f"load {name}",
        {
            "kernel": loaded.release,
            "bpftrace": dict(loaded.bpftrace),
            "verdicts": [
                [verdict.cell.suite, verdict.cell.name, verdict.loaded, verdict.reason] for verdict in loaded.verdicts
            ],
        },
    )


def keep_node(name: str, **facts: Any) -> None:
    """Store the result of one node: `kernel`, `bpftrace`, `memcached`, `requests`, `result`, `seconds`."""
    _keep(f"node {name}", facts)


def write() -> None:
    """Write the tables into docs/machines.md."""
    write_between(DOCUMENT, _BEGIN, _END, "\n\n".join(["\n".join(_loads()), "\n".join(_nodes())]))


def _path(name: str) -> Path:
    return machines_cache() / "results" / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}.json"


def _keep(name: str, facts: Mapping[str, Any]) -> None:
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps({"date": datetime.now(UTC).date().isoformat(), **facts}))
    scratch.replace(path)


def _read(name: str) -> dict[str, Any] | None:
    path = _path(name)
    return dict(json.loads(path.read_text())) if path.exists() else None


def _loads() -> Iterator[str]:
    yield "### Programs that the verifier accepts"
    yield ""
    columns = [*PROGRAMS, "both, other bound"]
    yield f"| kernel | bpftrace | {' | '.join(columns)} | date |"
    yield "|---|---|" + "---|" * (len(columns) + 1)
    reasons: dict[str, int] = {}
    for load in LOADS:
        if (record := _read(f"load {load}")) is None:
            continue
        verdicts = {(suite, name): (loaded, reason) for suite, name, loaded, reason in record["verdicts"]}
        for suite in load.suites:
            cells = [_verdict(verdicts.get((suite, name)), reasons) for name in columns]
            kernel = record["kernel"] + (f", `{load.words}`" if load.words else "")
            kernel += ", with its headers" if load.headers else ""
            yield f"| {kernel} | {record['bpftrace'][suite]} | {' | '.join(cells)} | {record['date']} |"
    yield ""
    for reason, number in reasons.items():
        yield f"{number}. `{reason}`"


def _verdict(verdict: Sequence[Any] | None, reasons: dict[str, int]) -> str:
    if verdict is None:
        return "-"
    loaded, reason = verdict
    if loaded:
        return "ok"
    text = re.sub(r"^\S*\.bt:[0-9:-]+: ", "", reason).replace("|", "\\|")
    return f"**refused** ({reasons.setdefault(text, len(reasons) + 1)})"


def _nodes() -> Iterator[str]:
    yield "### Sweeps compared with the requests sent"
    yield ""
    yield "| node | kernel | bpftrace | memcached | requests | result | date |"
    yield "|---|---|---|---|---|---|---|"
    for name in (*NODES, *PREEMPTED):
        if (record := _read(f"node {name}")) is not None:
            fields = [
                str(record.get(field) or "-") for field in ("kernel", "bpftrace", "memcached", "requests", "result")
            ]
            yield f"| {name} | {' | '.join(fields)} | {record['date']} |"


if __name__ == "__main__":
    write()
