"""Trace a fleet with an installed package, in an environment that has nothing of this repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fleettrace.lab.fleet import Lab
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.system import run
from fleettrace.sweep.events import Phase
from tests.e2e.command import Command, on_lab
from tests.e2e.fleet import keys_of

__all__ = ["bare", "check_traces", "inside_root"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NETWORK = ("SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY")
"""Variables with which this machine reaches the package registries."""
_ENTER = """
root=$1 shared=$2
shift 2
mount --rbind /proc "$root/proc" && mount --rbind /sys "$root/sys" && mount --rbind /dev "$root/dev" &&
    mkdir -p "$root$shared" && mount --bind "$shared" "$root$shared" || exit 97
exec chroot "$root" "$@"
"""
REQUESTS = [Request("set", (b"hot",)), *[Request("get", (b"hot",))] * 23, *[Request("get", (b"cold",))] * 7]


def bare(home: Path) -> list[str]:
    """Return the beginning of a command line with little environment: a home, a path, access to registries."""
    network = [f"{name}={os.environ[name]}" for name in _NETWORK if name in os.environ]
    return ["env", "-i", f"PATH={_PATH}", f"HOME={home}", "LC_ALL=C.UTF-8", *network]


def inside_root(root: Path, shared: Path) -> list[str]:
    """Return the beginning of a command line in a root directory, with the machine's /proc, and `shared` at its path.

    The mounts are seen by that command alone.
    """
    return ["unshare", "-m", "sh", "-c", _ENTER, "sh", str(root), str(shared), *bare(Path("/root"))]


def check_traces(lab: Lab, program: Sequence[str]) -> None:
    """Trace the lab with a program, and check that it counts every request and prints what is installed, over SSH."""
    options = ["run", *on_lab(lab), "--duration", "4s", "--top", "100", "--output", "json", "-v"]
    with Command(options, program=program) as command:
        command.wait_for_phase(Phase.TRACE, *lab.hosts, seconds=180)
        truth = lab.send(dict.fromkeys(lab.instances(), REQUESTS))
        done = command.finish()
    assert done.status == 0, done.err
    assert keys_of(done.report["keys"]) == truth.by_key()
    assert done.report["run"]["version"] == run([*program, "--version"]).split()[1]
