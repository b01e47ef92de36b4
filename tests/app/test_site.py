"""ansible.cfg, Ansible's variables and the command line, in the order in which they take precedence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleettrace.app.options import RunOptions
from fleettrace.app.plan import plan_lines
from fleettrace.app.site import DEFAULT_FORKS, Site, inventory_sources, read_site
from fleettrace.errors import ConfigError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without settings from elsewhere."""
    for name in ("ANSIBLE_CONFIG", "ANSIBLE_INVENTORY", "ANSIBLE_FORKS", "ANSIBLE_REMOTE_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    return tmp_path


def site(**options: object) -> Site:
    return read_site(RunOptions(**options))  # type: ignore[arg-type]


def test_ansible_cfg_sets_what_no_option_sets(directory: Path) -> None:
    (directory / "ansible.cfg").write_text("[defaults]\nforks = 7\ntimeout = 3\nany_errors_fatal = true\n")
    found = site()
    assert (found.forks, found.connect_timeout, found.max_fail) == (7, 3.0, 0.0)
    found = site(forks=2, connect_timeout=9.0, max_fail=0.5)
    assert (found.forks, found.connect_timeout, found.max_fail) == (2, 9.0, 0.5)


def test_option_switches_ansible_cfg_off(directory: Path) -> None:
    (directory / "ansible.cfg").write_text("[defaults]\nforks = 7\nremote_user = ann\n")
    assert site(no_ansible_cfg=True).forks == DEFAULT_FORKS
    assert site(no_ansible_cfg=True).config.text("remote_user") is None


def test_environment_takes_precedence_over_the_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "ansible.cfg").write_text("[defaults]\nremote_user = ann\n")
    monkeypatch.setenv("ANSIBLE_REMOTE_USER", "bea")
    assert site().config.text("remote_user") == "bea"
    assert site(user="cleo").config.text("remote_user") == "cleo"


def test_inventory_of_ansible_cfg_is_relative_to_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "etc").mkdir()
    (directory / "etc/ansible.cfg").write_text("[defaults]\ninventory = hosts, more/hosts\n")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(directory / "etc/ansible.cfg"))
    found = inventory_sources(RunOptions(), site().config)
    assert found == (str(directory / "etc/hosts"), str(directory / "etc/more/hosts"))
    monkeypatch.setenv("ANSIBLE_INVENTORY", "a,b")
    assert [Path(source).name for source in inventory_sources(RunOptions(), site().config)] == ["a", "b"]
    assert inventory_sources(RunOptions(inventory=("c", "d,")), site().config) == ("c", "d,")


@pytest.mark.usefixtures("directory")
def test_missing_inventory_names_the_ways_to_give_one() -> None:
    with pytest.raises(ConfigError, match="no inventory: name one with -i FILE"):
        inventory_sources(RunOptions(), site().config)


def test_unreadable_usual_inventory_is_passed_over(directory: Path) -> None:
    (directory / "home").mkdir(mode=0)
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="no inventory: name one with -i FILE"):
            inventory_sources(RunOptions(no_ansible_cfg=True), site(no_ansible_cfg=True).config)
    finally:
        os.seteuid(0)


def test_plan_shows_each_setting_with_its_origin(directory: Path) -> None:
    (directory / "ansible.cfg").write_text(
        "[defaults]\nforks = 7\n[privilege_escalation]\nbecome_method = doas\n[sudo_become_plugin]\npassword = hush\n"
    )
    lines = list(plan_lines(RunOptions(inventory=("h1,",), user="ann", verbose=1)))
    assert f"# ansible.cfg: {directory}/ansible.cfg" in lines
    assert f"# forks = 7 ({directory}/ansible.cfg:2)" in lines
    assert "# remote_user = ann (--user)" in lines
    assert "hush" not in "\n".join(lines)
    assert "h1: ssh ann@h1, root by doas unless root already: bpftrace - <PROGRAM" in lines
