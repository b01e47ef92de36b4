"""ansible.cfg and Ansible's variables mean what they mean to Ansible."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from fleettrace.errors import ConfigError
from fleettrace.inventory.ansible_config import AnsibleConfig, find_config, read_config

NAMES = {
    "forks": "DEFAULT_FORKS",
    "timeout": "DEFAULT_TIMEOUT",
    "remote_user": "DEFAULT_REMOTE_USER",
    "remote_port": "DEFAULT_REMOTE_PORT",
    "private_key_file": "DEFAULT_PRIVATE_KEY_FILE",
    "inventory": "DEFAULT_HOST_LIST",
    "host_key_checking": "HOST_KEY_CHECKING",
    "any_errors_fatal": "ANY_ERRORS_FATAL",
    "become_method": "DEFAULT_BECOME_METHOD",
    "vault_password_file": "DEFAULT_VAULT_PASSWORD_FILE",
    "vault_identity_list": "DEFAULT_VAULT_IDENTITY_LIST",
    "inventory_ignore_extensions": "INVENTORY_IGNORE_EXTS",
    "inventory_ignore_patterns": "INVENTORY_IGNORE_PATTERNS",
}
"""Our names of settings, and those of Ansible's own list."""

FILES = {
    "usual": (
        "[defaults]\ninventory = hosts\nremote_user = ops\nforks = 20\ntimeout = 30\nhost_key_checking = False\n"
        "private_key_file = ~/.ssh/fleet\nretry_files_enabled = False\n"
    ),
    "several inventories": "[defaults]\ninventory=./a, b/hosts,/etc/c\n",
    "old keys": "[defaults]\nhostfile = nothing\nask_pass = no\n",
    "quotes": "[defaults]\nremote_user = 'ops'\n",
    "comments": "[defaults]\n# forks = 1\nforks = 3 ; three\n; timeout = 2\nremote_user = a#b\n",
    "variables": "[defaults]\nprivate_key_file = $FLEET_HOME/key\ninventory = ${FLEET_HOME}/hosts\n",
    "ignore": "[defaults]\ninventory_ignore_extensions = .skip, ~\ninventory_ignore_patterns = ^old\n",
    "ignore of old": "[inventory]\nignore_extensions = .a, .b\nignore_patterns = x, y\n",
    "vault": "[defaults]\nvault_password_file = pw\nvault_identity_list = dev@a, prod@prompt\n",
    "become": "[privilege_escalation]\nbecome = True\nbecome_method = su\nbecome_user = root\n",
    "truths": "[defaults]\nhost_key_checking = off\nany_errors_fatal = 1\n",
    "percent": "[defaults]\nremote_user = 50%%\n",
    "empty": "",
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, without a setting from elsewhere."""
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEET_HOME", "/srv/fleet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_ansible(file: Path | None) -> dict[str, object]:
    """Return the settings that a file or a variable sets, as Ansible reads them."""
    manager: Any = importlib.import_module("ansible.config.manager").ConfigManager(file and str(file))
    found = {}
    for name, theirs in NAMES.items():
        value, origin = manager.get_config_value_and_origin(theirs)
        if origin != "default":
            found[name] = value
    return found


def by_us(config: AnsibleConfig) -> dict[str, object]:
    return {name: setting.value for name, setting in config.settings.items() if name in NAMES}


@pytest.mark.parametrize("case", FILES)
def test_file_means_what_it_means_to_ansible(directory: Path, case: str) -> None:
    file = directory / "ansible.cfg"
    file.write_text(FILES[case])
    assert by_us(read_config(os.environ, directory)) == by_ansible(file)


VARIABLES = {
    "ANSIBLE_FORKS": "12",
    "ANSIBLE_TIMEOUT": "8",
    "ANSIBLE_REMOTE_USER": "ops",
    "ANSIBLE_INVENTORY": "a,b/c",
    "ANSIBLE_HOST_KEY_CHECKING": "no",
    "ANSIBLE_PRIVATE_KEY_FILE": "~/k",
    "ANSIBLE_VAULT_PASSWORD_FILE": "pw",
    "ANSIBLE_VAULT_IDENTITY_LIST": "a@b,c@d",
    "ANSIBLE_BECOME_METHOD": "doas",
    "ANSIBLE_ANY_ERRORS_FATAL": "yes",
}


@pytest.mark.parametrize("name", VARIABLES)
def test_variable_means_what_it_means_to_ansible(directory: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, VARIABLES[name])
    found = by_us(read_config(os.environ, directory))
    assert found == by_ansible(None)
    assert len(found) == 1


def test_file_is_found_where_ansible_finds_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find: Any = importlib.import_module("ansible.config.manager").find_ini_config_file
    home, own, named = directory / "home/.ansible.cfg", directory / "ansible.cfg", directory / "named"
    (directory / "home").mkdir()
    named.mkdir()
    (named / "ansible.cfg").touch()

    def both() -> str | None:
        found = find_config(os.environ, directory)[0]
        name = None if found is None else str(found)
        assert name == find()
        return name

    both()
    home.touch()
    assert both() == str(home)
    own.touch()
    assert both() == str(own)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(named))
    assert both() == str(named / "ansible.cfg")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(directory / "missing"))
    assert both() == str(own)
    # Another user could have written what is in it.
    directory.chmod(0o777)
    assert both() == str(home)
    assert find_config(os.environ, directory)[1]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[defaults\nforks=1\n", "ansible.cfg:1"),
        ("forks=1\n", "ansible.cfg:1"),
        ("[defaults]\nforks = many\n", "ansible.cfg:2: forks"),
    ],
)
def test_faulty_file_is_named_with_its_line(directory: Path, text: str, cause: str) -> None:
    (directory / "ansible.cfg").write_text(text)
    with pytest.raises(ConfigError, match=cause):
        read_config(os.environ, directory)
