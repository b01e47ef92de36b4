"""One fleet for all accidents. After each test nothing of ours may be left on any host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from fleettrace.errors import FleettraceError
from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import wait_until
from tests.chaos.hosts import FLEET, OwnDirectories, left_over

GONE_WITHIN_S = 8.0


@pytest.fixture(scope="session")
def directories() -> dict[str, OwnDirectories]:
    """The directories of each host, by its name; filled with the lab."""
    return {}


@pytest.fixture(scope="session")
def lab(directories: dict[str, OwnDirectories]) -> Iterator[Lab]:
    with Lab(FLEET) as made, ExitStack() as stack:
        for name, host in made.hosts.items():
            directories[name] = OwnDirectories(host)
            stack.callback(directories[name].close)
        with made.ssh_config.open("a") as config:
            config.write(f"Host behind\n  ProxyJump root@{made.hosts['bastion'].address}\n")
        yield made


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wherever a test makes use of the lab."""
    yield
    if "lab" not in request.fixturenames:
        return
    lab, directories = request.getfixturevalue("lab"), request.getfixturevalue("directories")
    with suppress(FleettraceError):
        wait_until(lambda: not left_over(lab, directories), "something is left", seconds=GONE_WITHIN_S, pause=0.2)
    assert left_over(lab, directories) == []
