"""Every fleettrace command that the documentation shows is a valid one, and those that need no fleet run.

`run`, `top`, `check`, `demo` and a play log in to hosts: their options are parsed here, and tests/e2e runs them.
"""

from __future__ import annotations

import random
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fleettrace.cli.parser import build_parser
from fleettrace.errors import HostState
from fleettrace.store.history.database import History
from fleettrace.summary.counts import KeyCount, Summary
from fleettrace.summary.key import Key
from tests.docs.test_links import PAGES, ROOT
from tests.store.diff_traffic import random_fleet, window
from tests.store.runs import Swept, host_result, write

_SHOWN = re.compile(r"^ {4,}(?:[*/\d ]+ (?:root|fleettrace) |\$ )?(fleettrace [a-z].*)$", re.M)
_OFFLINE = {"hosts", "plan", "report", "diff", "history", "merge"}
_FAILING = {"fleettrace play --syntax-check all-at-once.yaml": 2}
_INVENTORY = """
all:
  vars: {ansible_user: ops}
  children:
    cache: {hosts: {"cache-[001:064].example.net": }}
    cache_west: {hosts: {"cache-[01:03].west.example.net": }}
    canary: {hosts: {canary.example.net: }}
"""


def shown() -> Iterator[str]:
    """Yield the text of each command that a page shows; not usage lines, and not measurements."""
    for page in PAGES:
        if page.parent.name != "reference" and page.stem != "benchmarks":
            for command in _SHOWN.findall(page.read_text()):
                yield re.split(r"\s+#|; echo", command)[0].strip()


COMMANDS = sorted(set(shown()))


def offline(command: str) -> bool:
    words = shlex.split(command)
    reads = {"--syntax-check", "--list-hosts", "--schema"}
    return words[1] in _OFFLINE or (words[1] == "play" and bool(reads & set(words))) or words[1:] == ["--help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_shown_command_is_valid(command: str) -> None:
    words = shlex.split(command)[1:]
    if words != ["--help"]:
        build_parser({}).parse_args(words)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all the files that shown commands name."""
    place = tmp_path_factory.mktemp("shown")
    (place / "inventory.yaml").write_text(_INVENTORY)
    for name in ("bpftrace", "playbooks"):
        (place / name).symlink_to(ROOT / name)
    for name in ("etc/fleettrace/playbooks", "shared/runs/one"):
        (place / name).mkdir(parents=True)
    for name in ("playbooks/nightly.yaml", "playbooks/nightly-audit.yaml"):
        shutil.copy(ROOT / "playbooks/nightly-audit.yaml", place / "etc/fleettrace" / name)
    shutil.copy(ROOT / "tests/playbook/wrong/all-at-once.yaml", place)
    hourly = block("docs/playbooks.md", "- name: hourly")
    (place / "hourly.yaml").write_text(re.sub("/(var/lib/fleettrace|srv/www)", str(place), hourly))
    (place / "mine.bt").write_text(block("docs/scripts.md", "// Look-ups of long keys."))
    counted = {"7@1": Summary(10, 0, {Key.whole(b"k"): KeyCount(10, 0, {"get": 10}, 1, None, [10])}, [10])}
    swept = Swept("r", [(host_result("cache-001.example.net", counted, HostState.OK), counted)])
    for name in ("run.ftr", "fleet.run", "shared/run-1.ftr", "shared/run-3", "shared/runs/one/cache.run"):
        write(place / name, swept)
    store(place / "history.db")
    return place


def block(page: str, first: str) -> str:
    """Return the lines of a page's code block from this line to the next empty one."""
    found = re.search(rf"^    {re.escape(first)}\n(?:    .*\n)+", (ROOT / page).read_text(), re.M)
    assert found is not None
    return re.sub(r"(?m)^ {4}", "", found[0])


def store(path: Path) -> None:
    """Store two runs of one fleet."""
    rng = random.Random(3)
    fleet = random_fleet(rng, keys=30, rate=5e3)
    with History.open(path, create=True) as history:
        for hours in (0, 1):
            run = window(fleet, rng, seconds=3, name=f"2026010{hours}-a", after=timedelta(hours=hours))
            first = replace(run.hosts[0], host="cache-002")
            history.add(replace(run, info=replace(run.info, pattern="cache-*"), hosts=(first, *run.hosts[1:])))


@pytest.mark.parametrize("command", [command for command in COMMANDS if offline(command)])
def test_shown_command_runs(command: str, directory: Path) -> None:
    text = re.sub(r"(?<= )/(?=shared/|etc/)", f"{directory}/", command)
    arguments = text.removeprefix("fleettrace ")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m fleettrace {arguments}"],
        capture_output=True,
        text=True,
        cwd=directory,
        env=environ | {"FLEETTRACE_STORE": str(directory / "history.db")},
        timeout=120,
        check=False,
    )
    assert done.returncode == _FAILING.get(command, 0), done.stderr
