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

from fleettrace.errors import HostState
from fleettrace.lab.system import wait_until
from fleettrace.store.history.database import History
from fleettrace.summary.run import HostResult
from tests.e2e.command import REPOSITORY
from tests.e2e.local import binary, served

pytestmark = pytest.mark.lab

# A line that cron runs at the next minute, without the delay that spreads a site's controllers.
NOW = {"*/15": "*", "--splay 5m": "--splay 1s"}
PATIENCE_S = 130.0
"""Seconds to the next minute, and for the run."""

MODULES = f"{REPOSITORY}:{next(Path(sys.prefix).glob('lib/python3*/site-packages'))}"
"""Where every user's Python finds fleettrace: root's own Python may be in a directory that others cannot read."""

INSTALLED = """
set -e
for name in usr/bin usr/sbin etc var/lib var/spool run; do
    mkdir -p {place}/upper/$name {place}/work/$name
    mount -t overlay overlay -o lowerdir=/$name,upperdir={place}/upper/$name,workdir={place}/work/$name /$name
done
rm -f /usr/bin/fleettrace
printf '#!/bin/sh\\nPYTHONPATH={modules} exec /usr/bin/python3 -m fleettrace "$@"\\n' >/usr/bin/fleettrace
chmod 755 /usr/bin/fleettrace
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
    found = re.search(
        r"^    (\*/15 \* \* \* \* root /usr/bin/fleettrace run .*)$", (REPOSITORY / "README.md").read_text(), re.M
    )
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
    other = line.replace("last.json", "closed.json").replace("inventory.yaml", "closed.yaml")
    (place / "job").write_text(f"{line}\n{other}\n")
    inventory = INVENTORY.replace("PORT", str(port))
    (place / "hosts.yaml").write_text(inventory)
    (place / "closed.yaml").write_text(inventory + CLOSED)
    script = INSTALLED.format(place=shlex.quote(str(place)), modules=MODULES) + DAEMON.format(
        place=shlex.quote(str(place))
    )
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


AUDITED = """
useradd --create-home --home-dir /var/lib/home fleettrace
mkdir -p /etc/sudoers.d /etc/fleettrace/playbooks
echo 'fleettrace ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/fleettrace
cp {repository}/playbooks/nightly-audit.yaml /etc/fleettrace/playbooks/
chmod 755 /etc/fleettrace /etc/fleettrace/playbooks
chmod 644 /etc/fleettrace/playbooks/*
"""


@pytest.mark.cron
def test_lines_of_scheduled_audits_run(place: Path) -> None:
    block = re.search(
        r"^    # /etc/cron.d/fleettrace\n((?:    .*\n)+)", (REPOSITORY / "docs/scheduling.md").read_text(), re.M
    )
    assert block is not None
    lines = [line.strip() for line in block[1].splitlines()]
    assert lines[-1].startswith("7 * * * * fleettrace /usr/bin/fleettrace play ")
    (place / "job").write_text("\n".join([*lines[:-1], lines[-1].replace("7 *", "* *", 1)]) + "\n")
    (place / "closed.yaml").write_text("")
    place.chmod(0o755)
    shown = {"place": shlex.quote(str(place)), "modules": MODULES, "repository": REPOSITORY}
    begin, end = DAEMON.rsplit("exec ", 1)
    script = "".join(part.format(**shown) for part in (INSTALLED, begin, AUDITED, f"exec {end}"))
    store = place / "upper/var/lib/home/.local/share/fleettrace/history.db"
    with served(place, binary("built")) as memcached:
        (place / "hosts.yaml").write_text(INVENTORY.replace("PORT", str(memcached.port)))
        daemon = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stderr=subprocess.PIPE)
        try:
            wait_until(lambda: audited(store), "the audit stored no run", seconds=PATIENCE_S, pause=0.5)
        finally:
            daemon.kill()
            daemon.communicate()
    (host,) = audited(store)
    assert (host.host, host.state) == ("here", HostState.OK)
    assert not (place / "mail").exists(), "an audit without a finding prints nothing"


def audited(store: Path) -> tuple[HostResult, ...]:
    """Return the hosts of the newest stored run; none without one."""
    if not store.exists():
        return ()
    with History.open(store) as history:
        return history.load("".join(line.run for line in history.runs(1))).hosts if history.runs(1) else ()


def test_units_pass_the_check_of_systemd(place: Path) -> None:
    script = INSTALLED.format(place=shlex.quote(str(place)), modules=MODULES)
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
