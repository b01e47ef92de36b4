"""The example of docs/python.md, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from tests.e2e.command import environment

pytestmark = pytest.mark.lab

PAGE = Path(__file__).parents[2] / "docs/python.md"


def test_example_of_the_python_page_runs(lab: Lab) -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    program = example.replace('"inventory.yaml"', repr(str(lab.inventory))).replace(
        'hosts="cache-*"', f'hosts="plain,closed", ssh_config={str(lab.ssh_config)!r}'
    )
    assert program != example
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True, env=environment()
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines[:2]] == [["plain", "ok"], ["closed", "unreachable"]]
