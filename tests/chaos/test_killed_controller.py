"""A controller killed by SIGKILL in any phase leaves nothing on the hosts and no partial file."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import wait_until
from fleettrace.sweep.events import Phase
from tests.chaos.hosts import OwnDirectories, remains
from tests.e2e.command import REPOSITORY, Command, on_lab, run
from tests.e2e.fleet import plan_for

pytestmark = pytest.mark.lab

HOSTS = ("steady", "secret")
OLD = "of yesterday"
KILLED = -signal.SIGKILL
KILLING = f"{Path(__file__).parent / 'killing'}:{REPOSITORY}"


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.DISCOVER, Phase.PLAN, Phase.ATTACH, Phase.TRACE])
def test_killed_in_each_phase_of_a_host(
    lab: Lab, directories: dict[str, OwnDirectories], tmp_path: Path, phase: Phase
) -> None:
    options = ["--hosts", ",".join(HOSTS), "--duration", "60s", "-v", "--save", str(tmp_path / "run.ftr")]
    with Command(["run", *on_lab(lab, *options), "-o", str(tmp_path / "report")]) as command:
        command.wait_for_phase(phase, "steady")
        command.signal(signal.SIGKILL)
        assert command.finish().status == KILLED
    wait_until(lambda: not remains(lab, directories), "the hosts are not clean", seconds=8, pause=0.2)
    assert list(tmp_path.iterdir()) == []


def test_killed_while_merging(lab: Lab, tmp_path: Path) -> None:
    options = ["--hosts", ",".join(HOSTS), "--duration", "1s", "-v", "--save", str(tmp_path / "run.ftr")]
    with Command(["run", *on_lab(lab, *options), "-o", str(tmp_path / "report")]) as command:
        wait_until(lambda: command.has_finished(*HOSTS), "no host is merged", seconds=60)
        command.signal(signal.SIGKILL)
        command.finish()
    for path in tmp_path.iterdir():
        # The run may have ended before the signal.
        assert path.name in ("report", "run.ftr") or path.name.startswith(".")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of saving that a controller is killed before, and the files that exist then."""

    host: str
    before: str
    """The step, see killing/sitecustomize.py."""
    drafts: tuple[str, ...] = ()
    """Drafts that remain."""
    saved: bool = False
    """Whether the new run file exists."""
    reported: bool = False
    """Whether the new report exists."""


STEPS = (
    Step("steady", "os.link /.run.ftr."),
    Step("secret", "os.rename /run.ftr", drafts=(".run.ftr",)),
    Step("cut", "os.link /.report.", saved=True),
    Step("shut", "os.rename /report", drafts=(".report",), saved=True),
    Step("full", "sqlite3.connect /history.db", saved=True, reported=True),
)


def test_killed_while_saving(lab: Lab, tmp_path: Path) -> None:
    """Each file is either the old one or the complete new one; a hidden draft may remain beside it."""
    with ExitStack() as stack:
        killed = [stack.enter_context(_killed_at(lab, tmp_path, step)) for step in STEPS]
        assert [command.finish().status for command in killed] == [KILLED] * len(STEPS)
    for step in STEPS:
        directory = tmp_path / step.host
        names = sorted(path.name for path in directory.iterdir())
        assert tuple(name.rsplit(".", 2)[0] for name in names if name.startswith(".")) == step.drafts
        assert {name for name in names if not name.startswith(".")} - {"history.db"} == {"run.ftr", "report"}
        if step.saved:
            again = run("report", str(directory / "run.ftr"), "--output", "json")
            assert again.host(step.host)["state"] == "ok"
        else:
            assert (directory / "run.ftr").read_text() == OLD
        if step.reported:
            assert json.loads((directory / "report").read_text())["hosts"][0]["state"] == "ok"
        else:
            assert (directory / "report").read_text() == OLD


def _killed_at(lab: Lab, tmp_path: Path, step: Step) -> Command:
    directory = tmp_path / step.host
    directory.mkdir()
    for name in ("run.ftr", "report"):
        (directory / name).write_text(OLD)
    options = ["--hosts", step.host, "--duration", "1s", "--output", "json", "-o", str(directory / "report")]
    options += ["--save", str(directory / "run.ftr"), "--store", str(directory / "history.db")]
    variables = {"PYTHONPATH": KILLING, "CHAOS_KILL_AT": step.before}
    return Command(["run", *on_lab(lab, *options)], variables=variables)


def test_next_run_is_exact(lab: Lab, tmp_path: Path) -> None:
    options = ["--hosts", ",".join(HOSTS), "--duration", "3s", "--top", "10000", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab, *options, "--save", str(tmp_path / "run.ftr"))]) as command:
        command.wait_for_trace(*HOSTS)
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*HOSTS)})
        done = command.finish()
    assert done.status == 0
    assert [host["requests"] for host in done.report["hosts"]] == [truth.total(name) for name in HOSTS]
