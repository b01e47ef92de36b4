"""README's cron line under a real cron daemon, and the units before systemd, as after README's install."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.system import wait_until
from tests.e2e.command import REPOSITORY
from tests.e2e.local import binary, served

pytestmark = pytest.mark.lab

# A line that cron runs at the next minute, without the delay that spreads a site's controllers.
NOW = {"*/15": "*", "--splay 5m": "--splay 1s"}
PATIENCE_S = 130.0
"""Seconds to the next minute, and for the run."""

INSTALLED = """
set -e
for name in usr/bin usr/sbin etc var/lib var/spool run; do
    mkdir -p {place}/upper/$name {place}/work/$name
    mount -t overlay overlay -o lowerdir=/$name,upperdir={place}/upper/$name,workdir={place}/work/$name /$name
done
ln -sf {python_directory}/fleettrace /usr/bin/fleettrace
"""
"""A script that makes an installed fleettrace appear in a mount namespace."""

DAEMON = """
rm -rf /etc/cron.d /etc/cron.hourly /etc/crontab /var/spool/cron /run/crond.pid
mkdir -p /etc/cron.d /var/spool/cron/crontabs /etc/fleettrace /var/lib/fleettrace
rm -rf /var/lib/fleettrace/*
cp {place}/hosts.yaml /etc/fleettrace/inventory.yaml
cp {place}/closed.yaml /etc/fleettrace/closed.yaml
cp {place}/job /etc/cron.d/fleettrace
chmod 644 /etc/cron.d/fleettrace
printf '#!/bin/sh\\ncat >>{place}/mail\\n' >/usr/sbin/sendmail
chmod 755 /usr/sbin/sendmail
exec env -i PATH=/usr/bin:/bin LANG=C /usr/sbin/cron -f
"""

INVENTORY = """\
cache:
  hosts:
    here:
      ansible_connection: local
      fleettrace_instances: [PORT]
"""
CLOSED = """\
    closed:
      ansible_host: 127.0.0.1
      ansible_port: 1
"""


def documented() -> str:
    """Return README's line for cron."""
    found = re.search(r"^    (\*/15 \* \* \* \* root fleettrace run .*)$", (REPOSITORY / "README.md").read_text(), re.M)
    assert found is not None
    return found[1]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory on a file system that overlays may be written to."""
    with tempfile.TemporaryDirectory(prefix="fleettrace-cron-", dir="/var/tmp") as name:
        yield Path(name)


def run_cron(place: Path, port: int) -> dict[str, dict[str, Any]]:
    """Run the line once under cron, and once for a fleet with a closed host; return both reports."""
    line = documented()
    for documented_text, text in NOW.items():
        assert documented_text in line
        line = line.replace(documented_text, text)
    other = line.replace("last.json", "closed.json") + " -i /etc/fleettrace/closed.yaml"
    (place / "job").write_text(f"{line}\n{other}\n")
    inventory = INVENTORY.replace("PORT", str(port))
    (place / "hosts.yaml").write_text(inventory)
    (place / "closed.yaml").write_text(inventory + CLOSED)
    script = (INSTALLED + DAEMON).format(place=shlex.quote(str(place)), python_directory=Path(sys.executable).parent)
    daemon = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    reports = [place / f"upper/var/lib/fleettrace/{name}.json" for name in ("last", "closed")]
    try:
        wait_until(
            lambda: all(report.exists() for report in reports) or daemon.poll() is not None,
            "cron's jobs wrote no report",
            seconds=PATIENCE_S,
            pause=0.5,
        )
        assert daemon.poll() is None, daemon.stdout.read() if daemon.stdout else ""
        wait_until((place / "mail").exists, "cron mailed nothing", seconds=20, pause=0.2)
        time.sleep(2)
    finally:
        daemon.kill()
        daemon.communicate()
    return {report.stem: json.loads(report.read_text()) for report in reports}


@pytest.mark.slow
def test_line_of_the_readme_is_quiet_and_mails_failures(place: Path) -> None:
    with served(place, binary("built")) as memcached:
        reports = run_cron(place, memcached.port)
    states = {name: {host["host"]: host["state"] for host in found["hosts"]} for name, found in reports.items()}
    assert states == {
        "last": {"here": "ok"},
        "closed": {"here": "ok", "closed": "unreachable"},
    }
    # One mail, with one line for the one failure: the other job is quiet.
    mail = (place / "mail").read_text()
    assert mail.count("Subject: ") == 1
    body = mail.partition("\n\n")[2]
    assert len(body.splitlines()) == 1
    assert body.startswith("fleettrace: closed: unreachable: ")


def test_units_pass_the_check_of_systemd(place: Path) -> None:
    script = INSTALLED.format(place=shlex.quote(str(place)), python_directory=Path(sys.executable).parent)
    script += f"cp {shlex.quote(str(REPOSITORY))}/integrations/systemd/fleettrace-audit@.* /etc/systemd/system/\n"
    script += "systemd-analyze verify --man=no /etc/systemd/system/fleettrace-audit@.service\n"
    script += "systemd-analyze verify --man=no /etc/systemd/system/fleettrace-audit@.timer\n"
    script += (
        "systemd-analyze security --offline=yes --no-pager --threshold=20 fleettrace-audit@nightly-audit.service\n"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fleettrace" not in done.stderr
