"""The shipped alerts, checked by promtool with the metrics of a real audit of a fleet that does not answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.command import REPOSITORY

RULES = REPOSITORY / "integrations/prometheus/fleettrace.rules.yml"
PROMTOOL = Path(sys.executable).parent / "promtool"
ALERTS = ("Dead", "NeverRan", "Failed")
NAMES = [*(f"FleettraceAudit{name}" for name in ALERTS), "FleettraceHostsMissing", "FleettraceFindingsHigh"]

PLAY = """\
- name: hourly
  hosts: all
  sweep: {{duration: 1s}}
  notify:
    - textfile: {metrics}
"""


def fired(place: Path, samples: dict[str, float], age_s: int = 60) -> list[str]:
    """Return the alerts that promtool finds firing for samples of a run that ended `age_s` before."""
    last_run = "fleettrace_audit_last_run_timestamp_seconds"
    series = [
        {"series": name, "values": f"{0 if name.startswith(last_run) else value}+0x600"}
        for name, value in samples.items()
    ]
    firing = []
    for name in NAMES:
        case = {"eval_time": f"{age_s}s", "alertname": name, "exp_alerts": []}
        test = {"interval": "1m", "input_series": series, "alert_rule_test": [case]}
        file = place / "alerts.json"
        file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": [test]}))
        result = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            assert "got:[" in re.sub(r"\s", "", result.stdout + result.stderr), result.stderr
            firing.append(name)
    return firing


def audited(place: Path) -> dict[str, float]:
    """Audit a fleet with a closed port; return the metrics that the audit wrote."""
    metrics = place / "audit.prom"
    (place / "play.yaml").write_text(PLAY.format(metrics=metrics))
    (place / "inventory").write_text("closed ansible_host=127.0.0.1 ansible_port=1\n")
    command = [sys.executable, "-m", "fleettrace", "play", "play.yaml", "-i", "inventory"]
    result = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert metrics.exists(), result.stderr
    lines = [line for line in metrics.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_docs_show_the_shipped_rules() -> None:
    shown = "".join(f"    {line}\n" for line in RULES.read_text().splitlines())
    assert shown in (REPOSITORY / "docs/scheduling.md").read_text()


def test_promtool_accepts_the_rules() -> None:
    subprocess.run([PROMTOOL, "check", "rules", RULES], check=True, capture_output=True)


def test_each_failure_fires_one_alert(tmp_path: Path) -> None:
    samples = audited(tmp_path)
    assert fired(tmp_path, samples) == ["FleettraceAuditFailed"]
    assert fired(tmp_path, samples, age_s=4 * 3600) == ["FleettraceAuditDead"]
    changed = {
        name: 1 if "succeeded" in name or 'severity="high",certainty="certain"' in name else value
        for name, value in samples.items()
    }
    assert fired(tmp_path, changed) == ["FleettraceHostsMissing", "FleettraceFindingsHigh"]
    assert fired(tmp_path, {}) == ["FleettraceAuditNeverRan"]
