"""No argument, environment, log or report has a password."""

from __future__ import annotations

import pytest

from fleettrace.lab.fleet import Lab
from tests.e2e.command import on_lab, run
from tests.e2e.conftest import BigSweep

pytestmark = pytest.mark.lab


def test_passwords_are_used_and_never_shown(big_sweep: BigSweep) -> None:
    assert len(big_sweep.secrets) == 3
    assert big_sweep.done.host("password")["state"] == "ok"
    for secret in big_sweep.secrets:
        assert secret not in big_sweep.done.err
        assert secret.encode() not in big_sweep.done.out


def test_no_process_has_a_password_in_its_arguments(big_sweep: BigSweep) -> None:
    assert big_sweep.leaks == []


@pytest.mark.parametrize("command", ["hosts", "plan"])
def test_hosts_and_plan_show_no_password(lab: Lab, big_sweep: BigSweep, command: str) -> None:
    options = on_lab(lab, "-v") if command == "plan" else ["-i", str(lab.inventory), "-v"]
    done = run(command, *options)
    assert done.status == 0
    assert not any(secret.encode() in done.out or secret in done.err for secret in big_sweep.secrets)
