"""Store runs as fast as possible. Arguments: the store, the prefix of the runs' ids, their number."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

from fleettrace.store.history.database import History
from tests.store.diff_traffic import random_fleet, window


def main(store: Path, name: str, number: int) -> None:
    """Store the runs; open the history for each, as separate processes do."""
    rng = random.Random(name)
    kept = window(random_fleet(rng, keys=60, rate=5e3), rng, seconds=3)
    for each in range(number):
        with History.open(store, create=True) as history:
            history.add(replace(kept, info=replace(kept.info, id=f"{name}-{each}")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
