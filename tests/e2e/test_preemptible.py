"""A kernel that may mix up counts is refused; where the user allows it, nothing is certified.

The kernel is this machine's with another version string. tests/machines runs real preemptible kernels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command as Request
from tests.e2e.command import run
from tests.e2e.local import served

pytestmark = pytest.mark.lab


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Return a PATH with a `uname` that prints this kernel release."""
    directory = tmp_path / "bin"
    directory.mkdir()
    uname = directory / "uname"
    uname.write_text(f"#!/bin/sh\necho '{request.param} #1 SMP PREEMPT_RT x86_64'\n")
    uname.chmod(0o755)
    return f"{directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def codes(report: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in report["warnings"]}


@pytest.mark.parametrize("path", ["6.13.0"], indirect=True)
@pytest.mark.parametrize("command", ["run", "check"])
def test_preemptible_kernel_is_refused(path: str, command: str, tmp_path: Path) -> None:
    with served(tmp_path, DEBIAN) as server:
        done = run(command, "-i", str(server.inventory), "--output", "json", PATH=path)
    host = done.host("here")
    assert (host["state"], host["error"]["code"], done.status) == ("unsupported", "preemptible-kernel", 4)
    assert "--allow-preemptible" in host["error"]["message"]


@pytest.mark.parametrize(("path", "options"), [("7.3.4", ["--allow-preemptible"]), ("6.12.0", [])], indirect=["path"])
def test_allowed_preemptible_kernel_certifies_nothing(path: str, options: list[str], tmp_path: Path) -> None:
    with served(tmp_path, DEBIAN) as server:
        requests = [Request("get", (b"key",))] * 23
        done, truth = server.trace(requests, *options, variables={"PATH": path})
    host = done.host("here")
    assert (host["state"], host["requests"], done.status) == ("ok", truth.total(), 0)
    assert "preemptible-kernel" in codes(done.report)
    [instance] = host["instances"]
    assert instance["probe"]["exact"] is False
    assert instance["coverage"] is None
    assert [(row["key"], row["requests"], row["certified"]) for row in done.report["keys"]] == [("key", 23, False)]


@pytest.mark.parametrize("path", ["7.3.4"], indirect=True)
def test_check_warns_where_preemptible_is_allowed(path: str, tmp_path: Path) -> None:
    options = ["--allow-preemptible", "--output", "json"]
    with served(tmp_path, DEBIAN) as server:
        done = run("check", "-i", str(server.inventory), *options, PATH=path)
    assert (done.status, done.host("here")["state"]) == (0, "ok")
    assert "preemptible-kernel" in codes(done.report)
