"""Each shipped playbook does what its first lines show, run as they stand: in parallel, on a real fleet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import WEB

pytestmark = pytest.mark.lab

PLAYBOOKS = sorted((Path(__file__).parents[2] / "playbooks").glob("*.yaml"))
GROUPS = {"cache_east": ["plain"], "cache_west": ["two"], "cache": ["plain", "two"], "canary": ["two"]}
FOUND = {
    "fleettrace play canary --check": "item by do_item_get",
    "fleettrace play canary --tags first": "plain",
    "fleettrace play nightly-audit": "",
    "fleettrace diff last~1 last": "no host is in both runs",
    "fleettrace history --playbook nightly-audit/fleet": "product:4711:stock",
}
"""A part of what a command prints; a key of the traffic for the others."""


def commands(playbook: Path) -> list[str]:
    """Return the commands of a playbook's first lines, in their order; of a cron line, the command."""
    head = playbook.read_text().partition("\n\n- ")[0]
    lines = re.findall(r"^# +(?:[0-9*/]+ \* \* \* \* root )?(fleettrace .*)$", head, re.M)
    return [line.partition("  #")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def environ(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment of a user with an inventory and an ssh_config, while there is traffic."""
    given = yaml.safe_load(lab.inventory.read_text())["all"]
    hosts = {name: values for name, values in given["hosts"].items() if name in GROUPS["cache"]}
    groups = {group: {"hosts": dict.fromkeys(names)} for group, names in GROUPS.items()}
    place = tmp_path_factory.mktemp("site")
    own = {**given, "hosts": hosts, "children": groups | {"sessions": {"hosts": dict.fromkeys(["plain"])}}}
    (place / "inventory.yaml").write_text(yaml.safe_dump({"all": own}))
    instances = lab.instances(*GROUPS["cache"])
    profile = replace(WEB, hot={b"product:4711:stock": 0.25})
    load = lab.start_load([Flow(each, lab.hosts[each.host].address, profile, 300.0) for each in instances], 300)
    try:
        yield {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FLEETTRACE_INVENTORY": str(place / "inventory.yaml"),
            "FLEETTRACE_SSH_CONFIG": str(lab.ssh_config),
        }
    finally:
        load.stop()


def test_every_playbook_shows_its_commands() -> None:
    assert len(PLAYBOOKS) >= 5
    assert [playbook.name for playbook in PLAYBOOKS if not commands(playbook)] == []


def test_documented_commands_run(environ: dict[str, str], tmp_path: Path) -> None:
    # A return probe of another trace on the same binary hides the kinds of requests (docs/probes.md).
    alone = [playbook for playbook in PLAYBOOKS if playbook.stem == "miss-storm"]
    run_together([playbook for playbook in PLAYBOOKS if playbook not in alone], environ, tmp_path)
    run_together(alone, environ, tmp_path)
    assert "product:4711:stock" in (tmp_path / "hot-keys" / "hot-keys.html").read_text()


def run_together(playbooks: list[Path], environ: dict[str, str], tmp_path: Path) -> None:
    """Run the commands of each playbook in their order, and the playbooks at the same time."""
    running = []
    for playbook in playbooks:
        place = tmp_path / playbook.stem
        place.mkdir()
        script = "\n".join(f"{line} >{n}.out 2>&1; echo $? >{n}.code" for n, line in enumerate(commands(playbook)))
        own = environ | {"FLEETTRACE_STORE": str(place / "history.db"), "HOME": str(place)}
        running.append((playbook, place, subprocess.Popen(["sh", "-c", script], cwd=place, env=own)))
    for playbook, place, process in running:
        assert process.wait(150) == 0
        for number, line in enumerate(commands(playbook)):
            printed = (place / f"{number}.out").read_text()
            assert int((place / f"{number}.code").read_text()) in (0, 1), f"{line}: {printed}"
            if "page=" not in line:
                assert FOUND.get(line, "product:4711:stock") in printed, f"{line}: {printed}"
