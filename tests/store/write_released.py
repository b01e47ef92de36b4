"""Write the files that the present version leaves behind, as test data for all later versions.

    python -m tests.store.write_released     # root, half a minute; refuses to replace the files of a version

sweeps a lab with healthy, failing and idle hosts twice, under traffic with hostile keys, and stores in
tests/store/released/VERSION/ the run file, the history, the JSON report that this version makes of each, the playbooks,
and the example inventory with the hosts that this version reads in it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fleettrace import __version__
from fleettrace.lab.fleet import Lab
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.specs import HostSpec, InstanceSpec, Login, Reach, two
from tests.e2e.command import REPOSITORY, Command, on_lab

__all__ = ["AS_JSON", "RELEASED", "output_of"]

RELEASED = Path(__file__).parent / "released"
AS_JSON = ("--top", "100", "--output", "json")
"""Options of the stored reports."""
_FLEET = [
    HostSpec("cache-1", two()),
    HostSpec("cache-2", login=Login.SUDO),
    HostSpec("idle", ()),
    HostSpec("down", reach=Reach.DOWN),
    HostSpec("stranger", (InstanceSpec(),), authorized=False),
]
_KEYS = (b"user:1:profile", b"user:2:profile", b"\xff\xfe", b"k]:7", "schlüssel".encode(), b"long" * 60)
_REQUESTS = [Request(verb, (key,)) for n, key in enumerate(_KEYS) for verb in ("get", "set", *("mg",) * (3 * n + 1))]


def output_of(store: Path, *arguments: str) -> str:
    """Return what `fleettrace` prints with this history."""
    environment = {**os.environ, "FLEETTRACE_STORE": str(store), "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "fleettrace", *arguments]
    return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout


def _sweep(lab: Lab, store: Path, *options: str) -> None:
    traced = ("--duration", "5s", "--connect-timeout", "3s", "--misses", "--sizes", "-v")
    with Command(["run", *on_lab(lab), *traced, *options], variables={"FLEETTRACE_STORE": str(store)}) as command:
        command.wait_for_trace("cache-1", "cache-2")
        lab.send(dict.fromkeys(lab.instances("cache-1", "cache-2"), _REQUESTS))
        assert command.finish().status == 3


def main() -> None:
    """Write the files of this version."""
    target = RELEASED / __version__
    if target.exists():
        raise SystemExit(f"{target}: the files of a version are written once")
    with TemporaryDirectory() as directory, Lab(_FLEET) as lab:
        made, store = Path(directory, "made"), Path(directory, "history.db")
        made.mkdir()
        _sweep(lab, store)
        _sweep(lab, store, "--save", str(made / "sweep.run"))
        for name, source in (("sweep", str(made / "sweep.run")), ("history", "last~1")):
            report = output_of(store, "report", source, *AS_JSON)
            (made / f"report-of-{name}.json").write_text(report)
        (made / "history.db.gz").write_bytes(gzip.compress(store.read_bytes(), mtime=0))
        shutil.copytree(REPOSITORY / "playbooks", made / "playbooks")
        shutil.copy(REPOSITORY / "inventory.example.yaml", made / "inventory.yaml")
        hosts = output_of(store, "hosts", "-i", str(made / "inventory.yaml"), "--output", "json")
        (made / "hosts.json").write_text(hosts)
        shutil.copytree(made, target)
    print(*sorted(target.rglob("*")), sep="\n")


if __name__ == "__main__":
    main()
