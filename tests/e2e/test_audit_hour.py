"""An hour of audits: traffic changes by a script, and each change is reported once, by the run in which it happened."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from fleettrace.lab.fleet import Lab
from fleettrace.lab.load import Flow
from fleettrace.lab.profile import Profile
from fleettrace.lab.truth import TracedInstance
from fleettrace.playbook.notify.textfile import LAST_SUCCESS
from fleettrace.playbook.notify.webhook import signature
from fleettrace.playbook.rules.judge import judge
from fleettrace.playbook.rules.language import compile_rule
from tests.e2e.command import Done, on_lab, run
from tests.playbook.notify_receiver import Receiver, program
from tests.playbook.rules_evidence import of_runs
from tests.store.diff_traffic import random_fleet, window

SECRET = b"0123456789abcdef0123456789abcdef"
WINDOW = "5s"
"""With three seconds, one slice that a busy machine prints late would be enough noise to hide a change."""
HOSTS = ("plain", "sudo")
RULES = {
    "hot": "key.share > 15%",
    "overload": "host.load > 1.5 x mean",
    "newcomer": "new key in top 10",
    "surge": "key risen 2 x since baseline or key new since baseline",
    "drop": "key fallen 2 x since baseline or key gone since baseline",
    "moved": "key moved since baseline",
    "blind": "coverage < 90% or hosts_missing > 0",
}


@dataclass(frozen=True)
class Traffic:
    """The clients' requests: hot keys by host, with their shares of its requests; requests per second by host."""

    hot: Mapping[str, Mapping[bytes, float]] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)

    def flows(self, lab: Lab) -> list[Flow]:
        """Return the same as flows for the load generator."""
        always = {"plain": {b"cart:7": 0.15}} if "sudo" not in self.hot else {}
        return [
            Flow(
                TracedInstance(name, 11211),
                lab.hosts[name].address,
                Profile(keys=80, skew=0.7, hot={**always.get(name, {}), **self.hot.get(name, {})}),
                self.rates.get(name, 700),
            )
            for name in HOSTS
        ]


USUAL = Traffic()
PROMO = Traffic(hot={"plain": {b"promo:banner": 0.4, b"cart:7": 0.15}})
"""A new key becomes hot on one host."""
BUSY = Traffic(rates={"sudo": 4200})
MOVED = Traffic(hot={"sudo": {b"cart:7": 0.15}})

HOUR: tuple[tuple[Traffic, set[tuple[str, str]]], ...] = (
    (USUAL, set()),
    (USUAL, set()),
    (PROMO, {("hot", "promo:banner"), ("newcomer", "promo:banner"), ("surge", "promo:banner")}),
    (PROMO, {("hot", "promo:banner")}),
    (USUAL, {("drop", "promo:banner")}),
    (BUSY, {("overload", "sudo")}),
    (USUAL, set()),
    (MOVED, {("moved", "cart:7")}),
)
"""The traffic of each audit, and its expected findings."""


class Audits:
    """One playbook with every kind of notification, run again and again."""

    def __init__(self, lab: Lab, directory: Path, webhook: str) -> None:
        self.directory = directory
        for name in ("notices", "mails"):
            (directory / name).mkdir()
        secret = directory / "webhook.key"
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        targets: list[dict[str, object]] = [
            {"command": [self._keeper("notices")], "on": "every"},
            {"mail": ["oncall@example.com"], "sendmail": self._keeper("mails")},
            {"webhook": webhook, "secret_file": str(secret)},
            {"textfile": str(directory / "fleettrace.prom")},
            {"stamp": str(directory / "stamp")},
        ]
        rules = [{"when": when, "name": name} for name, when in RULES.items()]
        play = {
            "name": "fleet",
            "hosts": ",".join(HOSTS),
            "sweep": {"duration": WINDOW},
            "rules": rules,
            "notify": targets,
        }
        playbook = directory / "hourly.yaml"
        playbook.write_text(yaml.safe_dump([play]))
        self._command = ["play", *on_lab(lab, "--store", str(directory / "history.db")), str(playbook)]

    def _keeper(self, name: str) -> str:
        """Return a program that stores its standard input in a new file."""
        files = self.directory / name
        return program(self.directory, f"keep-{name}", f"exec cat >{files}/$(ls {files} | wc -l)")

    def run(self) -> tuple[Done, set[tuple[str, str]]]:
        """Run it once. Return its end, and its findings by rule and name."""
        number = len(list((self.directory / "notices").iterdir()))
        done = run(*self._command)
        stored = self.directory / "notices" / str(number)
        assert stored.exists(), done.err
        notice = json.loads(stored.read_text())
        return done, {(one["rule"], one["name"]) for one in notice["findings"] if one["certainty"] != "unknown"}


@contextmanager
def sending(lab: Lab, traffic: Traffic, seed: int) -> Iterator[None]:
    load = lab.start_load(traffic.flows(lab), 60, seed=seed)
    try:
        yield
    finally:
        load.kill()


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(500)  # a quiet machine takes 60 s
def test_audit_reports_each_change_once(lab: Lab, tmp_path: Path) -> None:
    known: set[tuple[str, str]] = set()
    reported = []
    with Receiver() as receiver:
        audits = Audits(lab, tmp_path, receiver.url)
        for number, (traffic, expected) in enumerate(HOUR):
            with sending(lab, traffic, number):
                done, found = audits.run()
            assert (number, found) == (number, expected), done.err
            assert (done.status, done.err) == (1 if expected else 0, "")
            events = {one for one in expected if one[0] not in ("hot", "overload")}
            reported += [number] if events or expected - events != known else []
            assert bool(done.out) == (number in reported), "cron mails exactly the news"
            known = expected - events
    assert len(receiver.received) == len(list((tmp_path / "mails").iterdir())) == len(reported) == 5
    for request in receiver.received:
        timestamp = request.headers["Fleettrace-Timestamp"]
        assert request.headers["Fleettrace-Signature"] == signature(SECRET, timestamp, request.body)
    metrics = (tmp_path / "fleettrace.prom").read_text()
    assert f'{LAST_SUCCESS}{{playbook="hourly",play="fleet"}} ' in metrics
    assert time.time() - (tmp_path / "stamp").stat().st_mtime < 60


def test_audit_of_unchanged_traffic_has_no_findings() -> None:
    of_change = {
        **{name: RULES[name] for name in ("newcomer", "surge", "drop", "moved")},
        "any": "changed since baseline",
    }
    rules = [compile_rule(when, name=name) for name, when in of_change.items()]
    for seed in (1, 2):
        rng = random.Random(seed)
        fleet = random_fleet(rng, keys=200)
        before = None
        for number in range(21):
            after = window(fleet, rng, seconds=rng.choice([3, 10, 30]), name=f"run-{number}")
            found = judge(rules, of_runs(before, after)).standing
            assert found == (), f"fleet {seed}, run {number}"
            before = after
