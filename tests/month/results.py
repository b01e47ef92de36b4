"""Store what the months found, and write the table in docs/audited-month.md from it.

python -m tests.month.results     # write the table again
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.binary.builds import cache
from tests.month.events import EVENTS, Event
from tests.month.judgement import Verdict
from tests.written_table import write_between

__all__ = ["DOCUMENT", "keep", "write"]

DOCUMENT = Path(__file__).parents[2] / "docs/audited-month.md"
_BEGIN, _END = "<!-- written by make test-month -->", "<!-- end -->"
_SHOWN = 150


def keep(seed: int, first: int, verdicts: Sequence[Verdict]) -> None:
    """Store the verdicts on the hours from `first` on."""
    found = [[hour, what, line] for hour, one in enumerate(verdicts, first) for what, line in one.found]
    false = [[hour, line] for hour, one in enumerate(verdicts, first) for line in (*one.false, *one.missed)]
    document = {
        "hours": len(verdicts),
        "quiet": sum(one.quiet and not one.unjudged for one in verdicts),
        "unjudged": sum(one.unjudged for one in verdicts),
        "found": found,
        "false": false,
    }
    path = _path(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def write() -> None:
    """Write the tables into docs/audited-month.md."""
    write_between(DOCUMENT, _BEGIN, _END, "\n".join(_rows()))


def _path(seed: int) -> Path:
    return cache() / "months" / f"{seed}.json"


def _rows() -> Iterator[str]:
    months: dict[int, dict[str, Any]] = {
        int(path.stem): json.loads(path.read_text()) for path in sorted(_path(0).parent.glob("*.json"))
    }
    yield "\n| month | audits | quiet comparisons | of them too uneven to judge | false findings or missed events |"
    yield "|---|---|---|---|---|"
    for seed, month in months.items():
        quiet = month["quiet"] + month["unjudged"]
        yield f"| {seed} | {month['hours']} | {quiet} | {month['unjudged']} | {len(month['false'])} |"
    yield "\n| planted | at hour | found at hour | as |"
    yield "|---|---|---|---|"
    for event in EVENTS:
        yield from _row(event, next(iter(months.values())))


def _row(event: Event, month: dict[str, Any]) -> Iterator[str]:
    until = "" if event.end >= month["hours"] else f" to {event.end - 1}"
    planted = f"{event.what} | {event.begin}{until}"
    for hour, what, line in month["found"]:
        if what == event.what and event.changes(hour):
            shown = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
            yield f"| {planted} | {hour} | `{re.sub('/tmp/[^ ]*/', '', shown)}` |"
            planted = " | "


if __name__ == "__main__":
    write()
