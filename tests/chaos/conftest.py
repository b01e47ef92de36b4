"""One fleet for all accidents. After each test the hosts must have nothing left of fleettrace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from fleettrace.errors import FleettraceError
from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import wait_until
from tests.chaos.hosts import FLEET, OwnDirectories, remains

GONE_WITHIN_S = 8.0


@pytest.fixture(scope="session")
def directories() -> dict[str, OwnDirectories]:
    """Return the private directories by host; the fixture `lab` fills the dictionary."""
    return {}


@pytest.fixture(scope="session")
def lab(directories: dict[str, OwnDirectories]) -> Iterator[Lab]:
    with Lab(FLEET) as made, ExitStack() as stack:
        for name, host in made.hosts.items():
            directories[name] = OwnDirectories(host)
            stack.callback(directories[name].close)
        with made.ssh_config.open("a") as config:
            config.write(f"Host {made.hosts['behind'].address}\n  ProxyJump root@{made.hosts['bastion'].address}\n")
        yield made


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check the hosts after each test that uses the lab."""
    yield
    if "lab" not in request.fixturenames:
        return
    lab, directories = request.getfixturevalue("lab"), request.getfixturevalue("directories")
    with suppress(FleettraceError):
        wait_until(lambda: not remains(lab, directories), "the hosts are not clean", seconds=GONE_WITHIN_S, pause=0.2)
    assert remains(lab, directories) == []
