"""An hour of real cron: an audit each minute, one that overlaps itself, logrotate, and two users.

`make test-cron` runs it; CRON_MINUTES shortens it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import WEB
from fleettrace.lab.truth import TracedInstance
from tests.e2e.command import REPOSITORY
from tests.e2e.cron_daemon import Cron
from tests.transport.sshd import Account, account

pytestmark = [pytest.mark.lab, pytest.mark.cron]

MINUTES = int(os.environ.get("CRON_MINUTES", "60"))
HOT = b"product:4711:stock"
PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"
"""Root's own Python may be in a directory that other users cannot read."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users may read: not below pytest's own."""
    with tempfile.TemporaryDirectory(prefix="fleettrace-cron-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def user() -> Iterator[Account]:
    with account(f"ftt{os.getpid()}c", shell="/bin/bash") as made:
        yield made


def site(lab: Lab, directory: Path, owner: str) -> list[str]:
    """Copy what an operator needs to reach the lab's hosts; return the options."""
    directory.mkdir()
    inventory = lab.inventory.read_text()
    for name in ("client_key", "known_hosts"):
        shutil.copy(lab.private / name, directory / name)
    config = lab.ssh_config.read_text().replace(str(lab.private), str(directory))
    (directory / "ssh_config").write_text(config)
    (directory / "inventory.yaml").write_text(inventory.replace(str(lab.private), str(directory)))
    for path in (directory, *directory.iterdir()):
        shutil.chown(path, owner)
        path.chmod(0o700 if path.is_dir() else 0o600)
    return ["-i", str(directory / "inventory.yaml"), "--ssh-config", str(directory / "ssh_config")]


def audit(directory: Path, name: str, host: str, seconds: int, options: list[str]) -> str:
    """Write a playbook; return the crontab command that runs it and notes its exit code."""
    play = {
        "name": "fleet",
        "hosts": host,
        "sweep": {"duration": f"{seconds}s", "log": str(directory / f"{name}.log")},
        "rules": ["key.share > 15%"],
    }
    book = directory / f"{name}.yaml"
    book.write_text(yaml.safe_dump([play]))
    book.chmod(0o644)
    command = shlex.join([PYTHON, "-m", "fleettrace", "play", str(book), *options, "--store", f"{directory}/{name}.db"])
    return f"{command}; echo $? >>{directory}/{name}.codes"


def sending(lab: Lab, hot: float, seconds: float) -> None:
    """Send traffic to both hosts for so long, with a key that gets this part of it."""
    profile = replace(WEB, hot={HOT: hot})
    flows = [Flow(TracedInstance(name, 11211), lab.hosts[name].address, profile, 200) for name in ("plain", "sudo")]
    load = lab.start_load(flows, seconds + 60)
    time.sleep(seconds)
    load.kill()


@pytest.mark.timeout(MINUTES * 60 + 300)
def test_an_hour_under_cron(lab: Lab, user: Account, place: Path) -> None:
    own = place / user.name
    options = site(lab, own, user.name)
    quick = audit(place, "quick", "plain", 3, site(lab, place / "root", "root"))
    slow = audit(own, "slow", "sudo", 130, options)
    rotation = place / "logrotate.conf"
    rotation.write_text(
        f"{place}/quick.log {own}/slow.log {{\n    rotate 99\n    compress\n    delaycompress\n    missingok\n"
        f"    su root root\n}}\n"
    )
    rotate = f"/usr/sbin/logrotate -f -s {place}/logrotate.state {rotation}"
    paths = f"{REPOSITORY}:{next(Path(sys.prefix).glob('lib/python3*/site-packages'))}"
    head = f"MAILTO=oncall@example.com\nPYTHONPATH={paths}\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
    crontab = f"* * * * * root {quick}\n* * * * * {user.name} {slow}\n*/10 * * * * root {rotate}\n"
    minutes = MINUTES / 4
    with Cron(place, head + crontab) as cron:
        for hot in (0.05, 0.05, 0.4, 0.05):
            sending(lab, hot, minutes * 60)
        cron.wait_for([], seconds=180)
        mails = cron.mails()
    quick_codes = (place / "quick.codes").read_text().split()
    slow_codes = (own / "slow.codes").read_text().split()
    texts = [text for _, text in mails]
    print(f"{len(quick_codes)} and {len(slow_codes)} starts, {slow_codes.count('75')} overlaps, {len(mails)} mails")
    assert len(quick_codes) >= MINUTES - 2
    assert set(quick_codes) == {"0", "1"}
    assert set(slow_codes) <= {"0", "1", "75"}
    ended = len(slow_codes) - slow_codes.count("75")
    overlaps = [text for text in texts if "another run of" in text]
    assert slow_codes.count("75") > ended, "two of three starts find the lock held"
    assert ended - 1 <= len(overlaps) <= ended + 1, "one mail each time, whatever the number of overlaps"
    news = [text for text in texts if text not in overlaps]
    assert [("  new " in text, "  gone " in text) for text in news if "fleettrace" in text or "share" in text] != []
    assert len([text for text in news if "  new " in text]) == len([text for text in news if "  gone " in text]) == 2
    assert len(news) == 4, "each of the two audits reports the hot key once, and its end once"
    logs = [*place.glob("quick.log*"), *own.glob("slow.log*")]
    assert len(logs) >= 2 * (MINUTES // 10)
    events = [json.loads(line) for log in logs if log.suffix != ".gz" for line in log.read_text().splitlines()]
    assert events
