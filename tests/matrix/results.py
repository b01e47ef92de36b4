"""Store the results of the builds of the matrix, and write the table in docs/probes.md from them.

    python -m tests.matrix.results     # write the table again

Each build keeps its newest result, so a run of some builds updates their rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.binary.builds import cache
from tests.matrix.cells import cells
from tests.written_table import write_between

__all__ = ["DOCUMENT", "keep", "write"]

DOCUMENT = Path(__file__).parents[2] / "docs/probes.md"
_BEGIN, _END = "<!-- written by make test-builds -->", "<!-- end -->"


def keep(name: str, facts: Mapping[str, object]) -> None:
    """Store the result of one build."""
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps({"date": datetime.now(UTC).date().isoformat(), **facts}))
    scratch.replace(path)


def write() -> None:
    """Write the table into docs/probes.md."""
    write_between(DOCUMENT, _BEGIN, _END, "\n".join(_rows()))


def _path(name: str) -> Path:
    return cache() / "cells" / "results" / f"{name.replace(' ', '-')}.json"


def _rows() -> Iterator[str]:
    yield "| compiler | flags | linked with | stripped | probe | requests | exact | kinds | misses | date |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for cell in cells():
        if not (path := _path(str(cell))).exists():
            continue
        facts: dict[str, Any] = json.loads(path.read_text())
        flags = facts["flags"] + (", with a profile" if facts["profiled"] else "")
        fields = (
            cell.compiler,
            f"`{flags}`",
            f"`{facts['link'].replace('-Wl,', '')}`",
            "yes" if facts["stripped"] else "no",
            facts["probe"],
            facts["requests"],
            _exact(facts),
            _known(facts["unknown kinds"], facts["verbs"]),
            _known(facts["unknown misses"], facts["verbs"]),
            facts["date"],
        )
        yield f"| {' | '.join(str(field) for field in fields)} |"


def _exact(facts: Mapping[str, Any]) -> str:
    if not facts["exact"]:
        return "**no**"
    if not facts["claims"]:
        return "not claimed"
    return "yes, counters twice" if facts["twice"] else "yes"


def _known(unknown: list[str], verbs: int) -> str:
    """Return the commands with known values, as a phrase."""
    if not unknown:
        return "all"
    return "none" if len(unknown) == verbs else f"not {', '.join(unknown)}"


if __name__ == "__main__":
    write()
