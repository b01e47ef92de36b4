"""What is wrong with the user's environment is one line that names it and its cure, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

REPOSITORY = Path(__file__).parents[2]
UNKNOWN = 54321
"""A uid without a passwd entry."""
PLACES = [sys.base_prefix, str(REPOSITORY), *(path for path in sys.path if path.endswith("-packages"))]
"""Python, fleettrace and the libraries: all may lie where no other user may look."""
AS_UNKNOWN = "\n".join(
    [
        "set -e",
        "mount --make-rprivate /",
        "mount -t tmpfs -o mode=755 tmpfs /mnt",
        *(f"mkdir /mnt/{number}; mount --bind '{place}' /mnt/{number}" for number, place in enumerate(PLACES)),
        f'exec setpriv --reuid {UNKNOWN} --regid {UNKNOWN} --clear-groups /mnt/0/bin/python3 -m fleettrace "$@"',
    ]
)
RUN = ("run", "-i", "inventory.yaml", "--duration", "1s", "--retries", "0", "--store", "/proc/none/history.db")


@pytest.fixture
def directory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="fleettrace-environment-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "inventory.yaml").write_text("all: {hosts: {a: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
        (directory / ".ssh").mkdir()
        yield directory


def fleettrace(directory: Path, *arguments: str, unknown: bool = False, **variables: str) -> tuple[int, list[str]]:
    """The exit code and the lines on stderr; with `unknown`, of a user that no passwd entry names."""
    packages = [f"/mnt/{number}" for number in range(1, len(PLACES))] if unknown else PLACES[1:]
    own = ["unshare", "-m", "sh", "-c", AS_UNKNOWN, "sh"] if unknown else [sys.executable, "-m", "fleettrace"]
    done = subprocess.run(
        [*own, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(packages)} | variables,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()


def test_no_home_and_no_passwd_entry(directory: Path) -> None:
    code, lines = fleettrace(directory, *RUN, unknown=True)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].endswith(f"uid {UNKNOWN} has no passwd entry; set HOME")
    assert fleettrace(directory, "--version", unknown=True) == (0, [])


def test_login_without_a_user_name_is_refused(directory: Path) -> None:
    code, lines = fleettrace(directory, *RUN, unknown=True, HOME=str(directory))
    assert (code, len(lines)) == (2, 1)
    assert lines[0].endswith("neither LOGNAME nor USER is set; set USER")


def test_user_without_passwd_entry_runs_with_home_set(directory: Path) -> None:
    code, lines = fleettrace(directory, *RUN, unknown=True, HOME=str(directory), USER="someone")
    assert (code, "connection refused" in lines[1]) == (4, True)


def test_a_home_that_is_not_absolute(directory: Path) -> None:
    code, lines = fleettrace(directory, *RUN, HOME="here")
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("fleettrace: HOME='here'")


@pytest.mark.parametrize("client", ["ssh", "openssh"])
def test_the_home_of_someone_else(directory: Path, client: str) -> None:
    (directory / "home/.ssh").mkdir(parents=True)
    (directory / "home").chmod(0o700)
    code, lines = fleettrace(
        directory, *RUN, "--transport", client, unknown=True, HOME=str(directory / "home"), USER="someone"
    )
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"fleettrace: {directory}/home/.ssh/config: ")


def test_commands_without_home_files_need_no_home(directory: Path) -> None:
    assert fleettrace(directory, "hosts", "-i", "inventory.yaml", unknown=True, HOME="/root") == (0, [])


def test_inventory_in_another_users_home_is_found(directory: Path) -> None:
    (directory / "inventory.yaml").unlink()
    (directory / "home").mkdir(mode=0o700)
    code, lines = fleettrace(directory, "hosts", unknown=True, HOME=str(directory / "home"))
    assert (code, len(lines)) == (2, 1)
    assert str(directory / "home") in lines[0]


@pytest.mark.parametrize("client", ["ssh", "openssh"])
@pytest.mark.parametrize("text", ["garbage\n", "Match bogus\n", 'Include "x\n', 'Host "a\n'])
def test_a_faulty_ssh_config(directory: Path, client: str, text: str) -> None:
    (directory / "ssh_config").write_text(text)
    code, lines = fleettrace(directory, *RUN, "--transport", client, "--ssh-config", "ssh_config", HOME=str(directory))
    assert (code, len(lines)) == (2, 1)
    assert "ssh_config" in lines[0]
    assert fleettrace(directory, "check", *RUN[1:-2], "--ssh-config", "ssh_config", HOME=str(directory))[0] == 2


@pytest.mark.parametrize("client", ["ssh", "openssh"])
@pytest.mark.parametrize("what", ["missing", "unreadable"])
def test_an_ssh_config_that_cannot_be_read(directory: Path, client: str, what: str) -> None:
    if what == "unreadable":
        (directory / "none").touch(0o600)
    code, lines = fleettrace(
        directory,
        *RUN,
        "--transport",
        client,
        "--ssh-config",
        "none",
        unknown=True,
        HOME=str(directory),
        USER="someone",
    )
    assert (code, len(lines)) == (2, 1)
    assert "none" in lines[0]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LC_ALL": "xx_YY.bogus", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TMPDIR": "/nowhere"},
        {"TERM": ""},
    ],
)
def test_other_variables_change_nothing(directory: Path, variables: dict[str, str]) -> None:
    environ = {"HOME": str(directory)} | variables
    code, lines = fleettrace(directory, *RUN, "--transport", "openssh", unknown=False, **environ)
    assert (code, "connection refused" in lines[1]) == (4, True)
    assert lines[2].startswith("fleettrace: the run is not stored: /proc/none/history.db: ")


def test_a_working_directory_that_is_gone(directory: Path) -> None:
    (directory / "gone").mkdir()
    words = f"rmdir ../gone; exec {sys.executable} -m fleettrace hosts -i {directory}/inventory.yaml -q"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(directory)}
    done = subprocess.run(
        ["sh", "-c", words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=directory / "gone",
        env=environ,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2)
