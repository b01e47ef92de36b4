"""`play --check` and `--syntax-check` verify every target of notifications, at its file and line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleettrace.cli.main import main
from tests.e2e.command import environment

Check = Callable[[str], tuple[int, list[str]]]
BOOK = """\
- name: fleet
  hosts: all
  rules: key.share > 50%
  notify:
    - {entry}
"""


@pytest.fixture(params=["--syntax-check", "--check"])
def check(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Check a playbook with one entry of `notify`; return the exit code and the lines of stderr."""
    inventory = tmp_path / "hosts"
    inventory.write_text("")

    def run(entry: str) -> tuple[int, list[str]]:
        book = tmp_path / "audit.yaml"
        book.write_text(BOOK.format(entry=entry))
        store = str(tmp_path / "history.db")
        code = main(["play", str(book), str(request.param), "-i", str(inventory), "--store", store])
        return code, capsys.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("command: [/none/page, --team]", "command /none/page: /none/page is not an executable program"),
        ("command: [/etc]", "command /etc: /etc is not an executable program"),
        ("stamp: /none/stamp", "stamp /none/stamp: cannot write /none/stamp: its directory does not exist"),
        ("stamp: /etc", "stamp /etc: cannot write /etc"),
        ("textfile: /none/a.prom", "textfile /none/a.prom: cannot write /none/a.prom"),
        ("{mail: [root], sendmail: /none/sendmail}", "mail to root: /none/sendmail does not exist"),
        ("{webhook: https://x.example/TOKEN, secret_file: /none/key}", "cannot read the secret in /none/key: No such"),
        ("{webhook: https://x.example/TOKEN, secret_file: /etc}", "cannot read the secret in /etc: expected a regular"),
        ("{webhook: https://x.example/TOKEN, secret_file: OPEN}", "other users can read the secret in "),
        ("{webhook: https://x.example/TOKEN, secret_file: SHORT}", "is too short: expected 16 bytes"),
        ("{webhook: https://x.example/TOKEN, secret_file: PIPE}", "expected a regular file"),
        ("{webhook: https://x.example/TOKEN, secret_variable: NO_SUCH}", "variable NO_SUCH of the secret is not set"),
    ],
)
def test_faulty_target_is_exit_2_with_its_line(check: Check, tmp_path: Path, entry: str, words: str) -> None:
    for name, mode in (("OPEN", 0o644), ("SHORT", 0o600)):
        (tmp_path / name).write_text("x" * (40 if name == "OPEN" else 5))
        (tmp_path / name).chmod(mode)
    if not (tmp_path / "PIPE").exists():
        os.mkfifo(tmp_path / "PIPE")
    for name in ("OPEN", "SHORT", "PIPE"):
        entry = entry.replace(name, str(tmp_path / name))
    code, lines = check(entry)
    assert code == 2
    assert lines[0].startswith(f"{tmp_path}/audit.yaml:5:7: ")
    assert words in lines[0]
    assert "TOKEN" not in "".join(lines)


def test_all_faulty_targets_are_named_at_once(check: Check, tmp_path: Path) -> None:
    code, lines = check("command: [/none/a]\n    - stamp: /none/b\n    - command: ['true']")
    assert (code, [line.split(": ")[0] for line in lines[:-1]]) == (
        2,
        [f"{tmp_path}/audit.yaml:5:7", f"{tmp_path}/audit.yaml:6:7"],
    )
    assert lines[-1] == "fleettrace: 2 problems; nothing was run"


@pytest.fixture
def readable() -> Iterator[Path]:
    """A directory that other users may read: not below pytest's own."""
    with tempfile.TemporaryDirectory(prefix="fleettrace-state-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_unwritable_state_is_named_for_this_user(readable: Path) -> None:
    book = readable / "audit.yaml"
    book.write_text(BOOK.format(entry="command: ['true']"))
    words = ["play", str(book), "--syntax-check", "--store", str(readable / "state/history.db")]
    # Once as root, because other users may not read the modules that it imports.
    script = (
        "import os, sys; from fleettrace.cli.main import main; main(sys.argv[1:]); os.setuid(65534); "
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "audit.yaml:5:5: " in done.stderr
    assert f"this user cannot write to {readable}" in done.stderr
