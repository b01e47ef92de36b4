"""No password that a run uses is in its files, its output, or the arguments and environment of any process."""

from __future__ import annotations

import gzip
import sqlite3
import zlib
from contextlib import closing, suppress
from pathlib import Path

import pytest
import yaml

from fleettrace.app.exclusive import lock_directory
from fleettrace.lab.fleet import Lab
from tests.e2e.command import Done, run
from tests.e2e.secret_watch import Watch

pytestmark = pytest.mark.lab

SSH_PASSWORD = "not-this-one-5cd1e0"
WRONG_PASSWORD = "nor-that-one-77ab02"


def unpacked(store: Path) -> bytes:
    """Return every value of a database, compressed ones also decompressed."""
    found = [store.read_bytes()]
    with closing(sqlite3.connect(store)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f"SELECT * FROM {table}"):
                for value in row:
                    data = value if isinstance(value, bytes) else str(value).encode()
                    found.append(data)
                    with suppress(zlib.error):
                        found.append(zlib.decompress(data))
    return b"\n".join(found)


@pytest.fixture(scope="module")
def places(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return everything that a run wrote, by its kind, and the leaks observed during the run."""
    directory = tmp_path_factory.mktemp("secrets")
    layout = yaml.safe_load(lab.inventory.read_text())
    hosts = layout["all"]["hosts"]
    password = hosts["secret"]["ansible_become_password"]
    (directory / "password").write_text(f"{password}\n")
    hosts["by-command"] = {**hosts["secret"], "ansible_become_password": {"cmd": f"cat {directory}/password"}}
    hosts["wrong"] = {**hosts["secret"], "ansible_become_password": WRONG_PASSWORD}
    hosts["keyless"] = {**hosts["steady"], "ansible_password": SSH_PASSWORD, "ansible_ssh_private_key_file": "/none"}
    inventory = directory / "inventory.yaml"
    inventory.write_text(yaml.safe_dump(layout))
    secrets = [password, SSH_PASSWORD, WRONG_PASSWORD]
    with Watch(secrets) as watch:
        options = ["--hosts", "secret,by-command,wrong,keyless", "--duration", "2s", "--min-ok", "0", "-v"]
        files = ["--save", f"{directory}/run", "--log", f"{directory}/log", "--store", f"{directory}/history.db"]
        shown = ["--output", "json", "--html", f"{directory}/page.html"]
        done = run("run", "-i", str(inventory), "--ssh-config", str(lab.ssh_config), *options, *files, *shown)
    assert watch.samples > 20
    states = {host["host"]: host["state"] for host in done.report["hosts"]}
    # Two names of one machine: the first host that finds its memcached traces it.
    assert sorted((states.pop("secret"), states.pop("by-command"))) == ["no-instances", "ok"]
    assert states == {"wrong": "become-failed", "keyless": "auth-failed"}
    return {
        "processes": "\n".join(watch.leaks).encode(),
        "report": done.out,
        "stderr": done.err.encode(),
        "page": (directory / "page.html").read_bytes(),
        "log": (directory / "log").read_bytes(),
        "run file": gzip.decompress((directory / "run").read_bytes()),
        "history": unpacked(directory / "history.db"),
        "locks": b"".join(path.read_bytes() for path in lock_directory().iterdir()),
        "sshd's log": (lab.hosts["secret"].private / "sshd.log").read_bytes(),
        "again": again(directory),
        "secrets": "\n".join(secrets).encode(),
    }


def again(directory: Path) -> bytes:
    """Return the run as other commands report it."""
    ends: list[Done] = [
        run("report", f"{directory}/run", "--output", "json"),
        run("history", "--store", f"{directory}/history.db", "--output", "json"),
        run("merge", f"{directory}/run", "--output", "csv"),
    ]
    return b"".join(done.out + done.err.encode() for done in ends)


@pytest.mark.parametrize(
    "place", ["processes", "report", "stderr", "page", "log", "run file", "history", "locks", "sshd's log", "again"]
)
def test_passwords_are_nowhere(places: dict[str, bytes], place: str) -> None:
    assert [secret for secret in places["secrets"].splitlines() if secret in places[place]] == []
    assert places[place] != b"" or place in ("processes", "locks")
