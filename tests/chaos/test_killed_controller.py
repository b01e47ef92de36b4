"""A controller that is killed outright, at any phase of a run, leaves nothing on the hosts and nothing half at home."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import wait_until
from tests.chaos.hosts import OwnDirectories, left_over
from tests.e2e.command import REPOSITORY, Command, on_lab, run
from tests.e2e.fleet import plan_for

pytestmark = pytest.mark.lab

HOSTS = ("steady", "secret")
OLD = "of yesterday"
KILLED = -signal.SIGKILL
KILLING = f"{Path(__file__).parent / 'killing'}:{REPOSITORY}"


@pytest.mark.parametrize("phase", ["connect", "discover", "plan", "attach", "trace"])
def test_killed_in_each_phase_of_a_host(
    lab: Lab, directories: dict[str, OwnDirectories], tmp_path: Path, phase: str
) -> None:
    options = ["--hosts", ",".join(HOSTS), "--duration", "60s", "-v", "--save", str(tmp_path / "kept.ftr")]
    with Command(["run", *on_lab(lab, *options), "-o", str(tmp_path / "report")]) as command:
        command.wait_for([f"steady: {phase}"])
        command.signal(signal.SIGKILL)
        assert command.finish().status == KILLED
    wait_until(lambda: not left_over(lab, directories), "the hosts go on", seconds=8, pause=0.2)
    assert list(tmp_path.iterdir()) == []


def test_killed_while_merging(lab: Lab, tmp_path: Path) -> None:
    options = ["--hosts", ",".join(HOSTS), "--duration", "1s", "-v", "--save", str(tmp_path / "kept.ftr")]
    with Command(["run", *on_lab(lab, *options), "-o", str(tmp_path / "report")]) as command:
        wait_until(lambda: any(command.has_printed(f"{host}: ok") for host in HOSTS), "no host is merged", seconds=60)
        command.signal(signal.SIGKILL)
        command.finish()
    for left in tmp_path.iterdir():
        # It may have come to its end meanwhile.
        assert left.name in ("report", "kept.ftr") or left.name.startswith(".")


@dataclass(frozen=True, slots=True)
class Step:
    """Where a controller is killed while it writes, and what is there then."""

    host: str
    before: str
    """What it was about to do, see killing/sitecustomize.py."""
    hidden: tuple[str, ...] = ()
    """Drafts that are left."""
    kept: bool = False
    """The run file is in its instance."""
    reported: bool = False
    """The report is."""


STEPS = (
    Step("steady", "os.link /.kept.ftr."),
    Step("secret", "os.rename /kept.ftr", hidden=(".kept.ftr",)),
    Step("cut", "open /.report.", kept=True),
    Step("shut", "os.rename /report", hidden=(".report",), kept=True),
    Step("full", "sqlite3.connect /history.db", kept=True, reported=True),
)


def test_killed_while_saving(lab: Lab, tmp_path: Path) -> None:
    """What was there before stays, or what is new takes its instance whole; beside it a hidden draft may be left."""
    with ExitStack() as stack:
        killed = [stack.enter_context(_killed_at(lab, tmp_path, step)) for step in STEPS]
        assert [command.finish().status for command in killed] == [KILLED] * len(STEPS)
    for step in STEPS:
        directory = tmp_path / step.host
        names = sorted(path.name for path in directory.iterdir())
        assert tuple(name.rpartition(".")[0] for name in names if name.startswith(".")) == step.hidden
        assert {name for name in names if not name.startswith(".")} - {"history.db"} == {"kept.ftr", "report"}
        if step.kept:
            again = run("report", str(directory / "kept.ftr"), "--output", "json")
            assert again.host(step.host)["state"] == "ok"
        else:
            assert (directory / "kept.ftr").read_text() == OLD
        if step.reported:
            assert json.loads((directory / "report").read_text())["hosts"][0]["state"] == "ok"
        else:
            assert (directory / "report").read_text() == OLD


def _killed_at(lab: Lab, tmp_path: Path, step: Step) -> Command:
    directory = tmp_path / step.host
    directory.mkdir()
    for name in ("kept.ftr", "report"):
        (directory / name).write_text(OLD)
    options = ["--hosts", step.host, "--duration", "1s", "--output", "json", "-o", str(directory / "report")]
    options += ["--save", str(directory / "kept.ftr"), "--store", str(directory / "history.db")]
    variables = {"PYTHONPATH": KILLING, "CHAOS_KILL_AT": step.before}
    return Command(["run", *on_lab(lab, *options)], variables=variables)


def test_next_run_is_exact(lab: Lab, tmp_path: Path) -> None:
    options = ["--hosts", ",".join(HOSTS), "--duration", "3s", "--top", "10000", "--output", "json", "-v"]
    with Command(["run", *on_lab(lab, *options, "--save", str(tmp_path / "kept.ftr"))]) as command:
        command.wait_for_trace(*HOSTS)
        truth = lab.send({one: plan_for(one, hostile=False) for one in lab.instances(*HOSTS)})
        done = command.finish()
    assert done.status == 0
    assert [host["requests"] for host in done.report["hosts"]] == [truth.total(name) for name in HOSTS]
