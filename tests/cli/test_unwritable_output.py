"""Standard output that cannot be written is one line and exit code 2 in every command and format; no run is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleettrace.app.option_report import FORMATS
from fleettrace.app.option_table import COMMANDS

REPOSITORY = Path(__file__).parents[2]
TERMINAL = {"top"}
"""Commands that need a terminal for their keys and screen."""
LAB = {"demo"}
"""Commands that need a lab, and half a minute."""
SERVERS = {"exporter"}
"""Commands that write nothing to standard output and do not end."""
UNTRIED = TERMINAL | LAB | SERVERS
BROKEN = {"full": ">/dev/full", "closed": ">&-"}


@dataclass(frozen=True)
class Site:
    """What the commands work on: an inventory of one host that refuses connections, and two runs against it."""

    directory: Path
    environ: dict[str, str]

    def run(self, shell: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            ["bash", "-c", shell],
            **({"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE} | options),
            text=True,
            timeout=120,
            check=False,
            cwd=self.directory,
            env=self.environ,
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    directory = tmp_path_factory.mktemp("site")
    (directory / "inventory.yaml").write_text("all: {hosts: {a: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    (directory / "play.yaml").write_text("- name: p\n  hosts: all\n  sweep: {duration: 1s, retries: 0}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETTRACE_")}
    environ = kept | {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory), "PYTHONPATH": str(REPOSITORY)}
    environ |= {"XDG_CACHE_HOME": str(directory), "TERM": "xterm"}
    made = Site(directory, environ)
    for name in ("1.run", "2.run"):
        assert made.run(f"{COMMAND} run {SWEEP} --save {name}").returncode == 4
    return made


COMMAND = f"{sys.executable} -m fleettrace"
SWEEP = "-i inventory.yaml --duration 1s --retries 0 --store history.db"
ARGUMENTS: dict[str, list[str]] = {
    "run": [f"{SWEEP} --output {output}" for output in ("table", "json")],
    "play": [
        *("--schema", "-i inventory.yaml --list-hosts play.yaml", "-i inventory.yaml --check play.yaml"),
        "-i inventory.yaml --store history.db play.yaml",
    ],
    "top": [SWEEP],
    "check": [f"{SWEEP.replace(' --store history.db', '')} --output {output}" for output in ("table", "json")],
    "plan": ["-i inventory.yaml", "-i inventory.yaml --explain"],
    "hosts": ["-i inventory.yaml", "-i inventory.yaml -q"],
    "report": [f"--output {output} {run}" for output in FORMATS for run in ("./1.run", "last --store history.db")],
    "diff": [f"--output {output} ./1.run ./2.run" for output in ("table", "json")],
    "history": [f"--store history.db --output {output}" for output in ("table", "json")],
    "merge": ["1.run 2.run"],
    "who": ["KEY -i local, --output json"],
    "demo": ["--duration 1s"],
}
OTHERS = ["--help", "--version", "run --help"]
SIMPLE = [f"{command} {words}" for command in COMMANDS if command not in UNTRIED for words in ARGUMENTS[command]]

FIRST = [f"{command} {ARGUMENTS[command][0]}" for command in COMMANDS if command not in UNTRIED]


def check(done: subprocess.CompletedProcess[str]) -> None:
    """Its words are lines for a person, one of them on the output, and its code is 2."""
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "standard output" in line]) == 1


def test_every_command_is_tried() -> None:
    assert set(ARGUMENTS) | SERVERS == set(COMMANDS)


@pytest.mark.parametrize("words", [*OTHERS, *SIMPLE])
def test_a_full_disk_is_one_line_and_2(site: Site, words: str) -> None:
    check(site.run(f"{COMMAND} {words} >/dev/full"))


@pytest.mark.parametrize("how", ["closed", "pipe"])
@pytest.mark.parametrize("words", ["--help", *FIRST])
def test_closed_output_and_closed_pipe_exit_2(site: Site, words: str, how: str) -> None:
    # The reader of the pipe must have gone before anything is written.
    pipe = f"( sleep 0.2; {COMMAND} {words} ) | :; exit ${{PIPESTATUS[0]}}"
    check(site.run(pipe if how == "pipe" else f"{COMMAND} {words} >&-"))


@pytest.fixture
def terminal() -> Iterator[int]:
    ours, theirs = os.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("how", ["full", "closed"])
def test_top_gives_the_terminal_back_and_2(site: Site, terminal: int, how: str) -> None:
    done = site.run(f"{COMMAND} top {SWEEP} {BROKEN[how]}", stdin=terminal, stderr=terminal)
    assert done.returncode == 2


@pytest.mark.lab
@pytest.mark.slow
def test_the_demo_is_no_exception(site: Site) -> None:
    check(site.run(f"{COMMAND} demo {ARGUMENTS['demo'][0]} >/dev/full"))


@pytest.mark.parametrize("how", ["full", "closed"])
def test_the_run_is_kept_all_the_same(site: Site, how: str) -> None:
    store, page = site.directory / f"{how}.db", site.directory / f"{how}.html"
    words = f"-i inventory.yaml --duration 1s --retries 0 --store {store} --save {how}.run --html {page}"
    check(site.run(f"{COMMAND} run {words} {BROKEN[how]}"))
    listed = site.run(f"{COMMAND} history --store {store} --output json")
    assert len(json.loads(listed.stdout)["runs"]) == 1
    assert site.run(f"{COMMAND} report ./{how}.run").returncode == 0
    assert page.stat().st_size


@pytest.mark.parametrize("how", ["2>/dev/full", "2>&-"])
def test_without_standard_error_results_and_codes_stay(site: Site, how: str) -> None:
    done = site.run(f"{COMMAND} run {SWEEP} --output json {how}")
    assert (done.returncode, json.loads(done.stdout)["hosts"][0]["state"]) == (4, "unreachable")
    assert site.run(f"{COMMAND} run --nonsense {how}").returncode == 2


def test_inventory_from_closed_stdin_exits_2(site: Site) -> None:
    done = site.run(f"{COMMAND} hosts -i - <&-")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
