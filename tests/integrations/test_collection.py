"""The collection as a user has it: built, installed, and called by the lines of its documentation."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.system import wait_until
from tests.e2e.command import REPOSITORY, environment

COLLECTION = REPOSITORY / "integrations/ansible/ansible_collections/fleettrace/fleettrace"
PYTHON = os.environ.get("FLEETTRACE_TEST_ANSIBLE", sys.executable)
"""A Python with another ansible-core, from `make test-ansible`."""
PORT = 31_877
"""Of this module's memcached: below the ports that Linux gives to clients."""
PLAYBOOK = "ansible-playbook fleettrace.fleettrace.trace"


def documented(file: str) -> str:
    """Return the line of a page that runs the playbook."""
    found = re.search(rf"^    ({PLAYBOOK} .*)$", (REPOSITORY / file).read_text(), re.M)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory where a person stands, with the collection installed elsewhere and an inventory of this machine."""
    path = tmp_path_factory.mktemp("place")
    words = ["galaxy", "collection", "build", str(COLLECTION), "--output-path", str(path / "built")]
    galaxy(path, *words)
    (archive,) = (path / "built").iterdir()
    galaxy(path, "galaxy", "collection", "install", str(archive), "--collections-path", str(path / "installed"))
    stand = path / "stand"
    stand.mkdir()
    # Other tests have memcached processes on this machine.
    (stand / "inventory").write_text(
        f"[cache]\nlocalhost ansible_connection=local ansible_become=false fleettrace_instances={PORT}\n"
    )
    return path


def galaxy(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Ansible's where the collection is installed."""
    settings = environment(
        ANSIBLE_COLLECTIONS_PATH=str(path / "installed"),
        ANSIBLE_HOME=str(path / "ansible"),
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_PYTHON_INTERPRETER=PYTHON,
        PYTHONPATH=str(REPOSITORY),
    )
    stand = path / "stand"
    done = subprocess.run(
        [PYTHON, "-m", "ansible", *words],
        env=settings,
        cwd=stand if stand.exists() else path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 2), done.stdout + done.stderr
    return done


def play(place: Path, line: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a documented line, letter by letter but for its executable."""
    return galaxy(place, "playbook", *shlex.split(line)[1:], *more)


@pytest.fixture
def traffic() -> Iterator[None]:
    """A memcached on this machine, and a client that asks it for one key."""
    port = PORT
    server = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)])
    over = threading.Event()

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            while not over.wait(0.01):
                client.sendall(b"get hot:key\r\n")
                assert client.recv(100) == b"END\r\n"

    try:
        wait_until(lambda: listens(port), "memcached does not listen", seconds=10, pause=0.05)
        thread = threading.Thread(target=ask)
        thread.start()
        yield
        over.set()
        thread.join()
    finally:
        server.kill()
        server.wait()


def listens(port: int) -> bool:
    """Return whether a server accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.lab
@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("file", ["docs/ansible.md", str(COLLECTION.relative_to(REPOSITORY) / "README.md")])
def test_documented_line_ends_in_a_report(place: Path, file: str) -> None:
    done = play(place, documented(file), "-e", "trace_duration=2s trace_become=false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hot:key" in done.stdout
    assert list((place / "stand/fleettrace-runs").glob("*/localhost.run"))


@pytest.mark.lab
def test_relative_report_is_where_the_person_stands(place: Path) -> None:
    variables = "trace_duration=1s trace_become=false trace_report=report.json trace_format=json trace_dest=./runs"
    done = play(place, documented("docs/ansible.md"), "-e", variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (place / "stand/report.json").stat().st_size
    assert list((place / "stand/runs").glob("*/localhost.run"))
    assert not list((place / "installed").rglob("report.json"))


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ("trace_top=-1", "top: -1 is not a number of keys: expected 0 to 100000"),
        ("trace_format=pdf", "trace_format is table, json, csv, prometheus, markdown or html, not pdf"),
        ("trace_duration=soon", "'soon' is not a duration"),
    ],
)
def test_wrong_variable_is_refused_before_a_trace(place: Path, variables: str, cause: str) -> None:
    before = set((place / "stand").rglob("*"))
    done = play(place, documented("docs/ansible.md"), "-e", f"trace_become=false {variables}")
    assert done.returncode == 2
    assert cause in done.stdout
    assert set((place / "stand").rglob("*")) == before


def test_description_of_the_collection_is_complete() -> None:
    described = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
    for key in ("namespace", "name", "version", "readme", "authors", "description", "license", "tags", "repository"):
        assert described[key]
    runtime = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())
    assert runtime == {"requires_ansible": ">=2.16.0"}
    assert f"## {described['version']}" in (COLLECTION / "CHANGELOG.md").read_text()
