"""The Debian package passes lintian, and works on a bare Debian 12, 13 and arm64: installed, traced with, removed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.system import run
from tests.dist.conftest import Packages
from tests.dist.installed import check_traces
from tests.dist.roots import Root, bare_debian

pytestmark = [pytest.mark.dist, pytest.mark.timeout(1800)]
INSTALLED = [
    "/etc/fleettrace/inventory.example.yaml",
    "/usr/lib/systemd/system/fleettrace-audit@.service",
    "/usr/lib/systemd/system/fleettrace-audit@.timer",
    "/usr/lib/systemd/system/fleettrace-exporter.service",
    "/usr/lib/sysusers.d/fleettrace.conf",
    "/usr/share/bash-completion/completions/fleettrace",
    "/usr/share/doc/fleettrace/copyright",
    "/usr/share/fish/vendor_completions.d/fleettrace.fish",
    "/usr/share/man/man1/fleettrace-run.1.gz",
    "/usr/share/zsh/vendor-completions/_fleettrace",
]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def root(request: pytest.FixtureRequest, packages: Packages, lab: Lab) -> Iterator[Root]:
    """A bare Debian with the package."""
    with bare_debian(request.param, lab.private) as made:
        made.install(packages.path("*_amd64.deb"))
        yield made


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_lintian_reports_no_error(packages: Packages, arch: str) -> None:
    run(["lintian", "--allow-root", "--fail-on", "error", packages.path(f"*_{arch}.deb")], seconds=300)


def test_package_traces_from_a_bare_debian(root: Root, lab: Lab) -> None:
    check_traces(lab, [*root.inside, "fleettrace"])


def test_package_installs_its_files(root: Root) -> None:
    assert set(INSTALLED) <= set(root.run("dpkg", "-L", "fleettrace").splitlines())
    assert root.run("dpkg", "--verify", "fleettrace") == ""


def test_package_creates_the_user_of_audits(root: Root) -> None:
    assert root.run("getent", "passwd", "fleettrace").strip().endswith(":/var/lib/fleettrace:/usr/sbin/nologin")
    assert root.run("stat", "-c", "%U:%G %a", "/etc/fleettrace") == "root:fleettrace 750\n"


def test_other_users_may_run_it(root: Root) -> None:
    shown = root.run("setpriv", "--reuid=nobody", "--clear-groups", "fleettrace", "hosts", "-i", "a,b,", "all")
    assert shown.split() == ["a", "b"]


def test_other_users_need_an_inventory_of_their_own(root: Root) -> None:
    (root.path / "etc/fleettrace/inventory.yaml").write_text("all: {hosts: {private: }}")
    as_other = [*root.inside, "setpriv", "--reuid=nobody", "--clear-groups", "fleettrace", "hosts"]
    done = subprocess.run(as_other, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fleettrace: no inventory: name one with -i FILE")


def test_single_file_runs_on_a_bare_debian(root: Root, packages: Packages, lab: Lab) -> None:
    target = root.path / "usr/local/bin/fleettrace.pyz"
    target.write_bytes(packages.path("fleettrace.pyz").read_bytes())
    target.chmod(0o755)
    check_traces(lab, [*root.inside, "fleettrace.pyz"])


def test_purge_removes_every_file(packages: Packages, lab: Lab) -> None:
    with bare_debian("trixie", lab.private) as root:
        before = set(root.run("find", "/etc", "/usr", "-xdev").splitlines())
        root.install("python3")
        root.install(packages.path("*_amd64.deb"))
        root.run("fleettrace", "--version")
        root.run("dpkg", "--purge", "fleettrace")
        after = set(root.run("find", "/etc", "/usr", "-xdev", "-name", "*fleettrace*").splitlines())
        assert after - before == set()


def test_arm64_packages_trace(packages: Packages, lab: Lab) -> None:
    with bare_debian("trixie", lab.private, "arm64") as root:
        root.install(packages.path("*_arm64.deb"))
        check_traces(lab, [*root.inside, "fleettrace"])
        target = root.path / "usr/local/bin/fleettrace.pyz"
        target.write_bytes(packages.path("fleettrace.pyz").read_bytes())
        target.chmod(0o755)
        check_traces(lab, [*root.inside, "fleettrace.pyz"])
