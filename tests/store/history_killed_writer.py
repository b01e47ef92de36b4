"""Store a run repeatedly, in child processes that are killed at the n-th step, until one completes.

Run it with the library of `history_killing.c` preloaded. Prints a line for each child: the step, and whether it was
killed. Arguments: the library, a directory for the stores, and the store to copy for each child (it need not exist).
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

from fleettrace.store.history.database import History
from fleettrace.store.history.model import StoredRun
from fleettrace.store.history.retention import Retention
from tests.store.diff_traffic import random_fleet, window


def new_run(name: str) -> StoredRun:
    """Return a run to store; `later` is newer than `new`."""
    rng = random.Random(1)
    fleet = random_fleet(rng, keys=60, rate=5e3)
    return window(fleet, rng, seconds=3, name=name, after=timedelta(days=1 if name == "new" else 2))


def main(library: str, directory: Path, template: Path) -> None:
    """Kill a writer at every step, each with its own copy of the store at `template` (which may not exist)."""
    killing = ctypes.CDLL(library)
    kept = new_run("new")
    step = 0
    while True:
        step += 1
        path = directory / f"{step}.db"
        if template.exists():
            for part in template.parent.glob(f"{template.name}*"):
                shutil.copy(part, path.with_name(path.name + part.name.removeprefix(template.name)))
        child = os.fork()
        if child == 0:
            killing.kill_at(step)
            with History.open(path, create=True) as history:
                # The same transaction must delete the oldest of the three.
                history.add(kept, Retention(runs=3), now=kept.info.started)
            killing.kill_at(0)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(step, "killed" if killed else "through", flush=True)
        if not killed:
            assert status == 0
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
