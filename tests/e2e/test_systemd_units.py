"""The systemd units: systemd-analyze accepts them, and they run with few rights."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.exporter import ServedMetrics
from tests.e2e.local import ADDRESS, free_port

UNITS = Path(__file__).parents[2] / "integrations/systemd"


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Write an instance of each unit, with an existing program in place of /usr/bin/fleettrace."""
    made = []
    for name in ("fleettrace-audit@.service", "fleettrace-audit@.timer", "fleettrace-exporter.service"):
        made.append(tmp_path / name.replace("@", "@nightly"))
        made[-1].write_text((UNITS / name).read_text().replace("/usr/bin/fleettrace", sys.executable))
    return made


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_systemd_analyze_accepts_the_units(units: list[Path]) -> None:
    verdict = analyze("verify", "--man=no", *units)
    assert (verdict.returncode, verdict.stdout, verdict.stderr) == (0, "", "")


def test_systemd_analyze_reports_a_misspelt_directive(units: list[Path]) -> None:
    units[0].write_text(units[0].read_text().replace("ProtectHome=", "ProtctHome="))
    assert "Unknown key 'ProtctHome'" in analyze("verify", "--man=no", *units).stderr


@pytest.mark.parametrize("number", [0, 2], ids=["audit", "exporter"])
def test_service_exposure_is_low(units: list[Path], number: int) -> None:
    verdict = analyze("security", "--offline=true", "--threshold=20", "--no-pager", units[number])
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d)", verdict.stdout)
    assert exposure is not None and float(exposure[1]) <= 2.0
    assert verdict.returncode == 0


READ_ONLY = """
mount --bind / / && mount -o remount,bind,ro /
for directory in "$1" /run/lock; do mount --bind $directory $directory && mount -o remount,bind,rw $directory; done
shift && exec env -i PATH=/usr/bin:/bin "$@"
"""


def variables_of(place: Path, unit: str) -> list[str]:
    """Return the variables of a unit's service with its directories in `place`, and write its inventory there."""
    text = (UNITS / unit).read_text()
    assert re.search("^ReadWritePaths=-/run/lock( |$)", text, re.M)
    directories = {"%S": place / "lib", "%C": place / "cache", "%t": place / "run", "/etc": place / "etc"}
    for directory in directories.values():
        (directory / "fleettrace").mkdir(parents=True)
    variables = [word for line in re.findall(r"^Environment=(.*)$", text, re.M) for word in line.split()]
    for specifier, directory in directories.items():
        variables = [word.replace(specifier, str(directory)) for word in variables]
    host = {"ansible_host": "127.0.0.1", "ansible_port": 9}
    inventory = place / "etc/fleettrace/inventory.yaml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"closed": host}}}))
    return variables


def isolated(place: Path, variables: list[str], *arguments: str) -> list[str]:
    """Return the command line of fleettrace where only `place` and /run/lock can be written."""
    program = [sys.executable, "-m", "fleettrace", *arguments]
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh", str(place)]
    return [*alone, *variables, f"PYTHONPATH={UNITS.parents[1]}", *program]


@pytest.mark.lab
def test_exporter_service_writes_only_to_its_directories(tmp_path: Path) -> None:
    port = free_port()
    variables = [*variables_of(tmp_path, "fleettrace-exporter.service"), "FLEETTRACE_RETRIES=0"]
    command = isolated(tmp_path, variables, "exporter", "--listen", f"{ADDRESS}:{port}")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            ServedMetrics(port).wait_for_sweep("failed")
        finally:
            server.terminate()
        assert server.stderr is not None
        printed = server.stderr.read().splitlines()
    assert (server.returncode, len(printed)) == (0, 2)
    assert printed[1].startswith("fleettrace: closed: unreachable: ")


@pytest.mark.lab
def test_service_writes_only_to_its_directories(tmp_path: Path) -> None:
    variables = variables_of(tmp_path, "fleettrace-audit@.service")
    playbook = tmp_path / "audit.yaml"
    stamp = {"textfile": str(tmp_path / "run/x.prom")}
    sweep = {"duration": "1s", "retries": 0}
    play = {"name": "fleet", "hosts": "all", "sweep": sweep, "rules": ["coverage < 99%"], "notify": [stamp]}
    playbook.write_text(yaml.safe_dump([play]))
    command = isolated(tmp_path, variables, "play", str(playbook))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("fleettrace: closed: unreachable: ")
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"lib/fleettrace/history.db", "run/x.prom"} <= written
    assert any(path.startswith("lib/fleettrace/notified/audit-fleet") for path in written)


def test_sysusers_creates_the_user(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/sysusers.d/fleettrace.conf"
    place.parent.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    shutil.copy(UNITS / "fleettrace-sysusers.conf", place)
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}"], check=True, capture_output=True)
    assert "fleettrace:x:" in (tmp_path / "etc/passwd").read_text()
    assert ":/var/lib/fleettrace:" in (tmp_path / "etc/passwd").read_text()
