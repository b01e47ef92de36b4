"""What a run takes from its options, else from the site's Ansible configuration, else from its defaults."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleettrace.app.options import RunOptions
from fleettrace.errors import ConfigError
from fleettrace.inventory.ansible_config import AnsibleConfig, Setting, read_config
from fleettrace.inventory.load import ENDPOINT_SOURCE, default_sources

__all__ = ["DEFAULT_FORKS", "Site", "inventory_sources", "read_site"]

DEFAULT_FORKS = 64
_DEFAULT_CONNECT_TIMEOUT_S = 10.0
# Options of the command line that Ansible has too, by the name of their setting.
_OPTIONS = {
    "remote_user": "user",
    "private_key_file": "private_key",
    "ssh_common_args": "ssh_common_args",
    "ssh_extra_args": "ssh_extra_args",
    "become_method": "become_method",
    "become_user": "become_user",
}


@dataclass(frozen=True, slots=True)
class Site:
    """The settings that all hosts of a run share. A host's variables take precedence over those in `config`."""

    config: AnsibleConfig
    """ansible.cfg and Ansible's environment variables, with the command line's options on top of them."""
    forks: int = DEFAULT_FORKS
    connect_timeout: float = _DEFAULT_CONNECT_TIMEOUT_S
    """Seconds."""
    max_fail: float | None = None
    ask_pass: bool = False
    ask_become_pass: bool = False
    ask_vault_pass: bool = False

    def lines(self) -> Iterator[str]:
        """Yield a line for each setting of the site with its origin; passwords are masked."""
        if self.config.file is not None:
            yield f"ansible.cfg: {self.config.file}"
        for name, setting in self.config.settings.items():
            value = "********" if name.endswith("pass") and isinstance(setting.value, str) else setting.value
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{name} = {text} ({setting.origin})"


def read_site(options: RunOptions, environ: Mapping[str, str] = os.environ, *, interactive: bool = False) -> Site:
    """Return the site's settings. Raises `ConfigError` for a faulty ansible.cfg.

    `interactive`: passwords that ansible.cfg asks for can be asked for. Without a terminal they are not, and only an
    option insists on one.
    """
    config = AnsibleConfig() if options.no_ansible_cfg else read_config(environ, _working_directory())
    given = {
        setting: Setting(value, f"--{option.replace('_', '-')}")
        for setting, option in _OPTIONS.items()
        if (value := getattr(options, option))
    }
    config = config.overridden(given)
    max_fail = options.max_fail
    if max_fail is None and config.truth("any_errors_fatal"):
        max_fail = 0.0
    return Site(
        config=config,
        forks=options.forks or config.number("forks") or DEFAULT_FORKS,
        connect_timeout=options.connect_timeout or config.number("timeout") or _DEFAULT_CONNECT_TIMEOUT_S,
        max_fail=max_fail,
        ask_pass=options.ask_pass or (interactive and config.truth("ask_pass") is True),
        ask_become_pass=options.ask_become_pass or (interactive and config.truth("become_ask_pass") is True),
        ask_vault_pass=options.ask_vault_pass or (interactive and config.truth("ask_vault_pass") is True),
    )


def inventory_sources(options: RunOptions, config: AnsibleConfig) -> tuple[str, ...]:
    """Return the sources of the inventory: `--inventory` and `--endpoint`, else Ansible's setting, else a usual file.

    Raises `ConfigError` where there is none.
    """
    if options.inventory or options.endpoint:
        return (*options.inventory, *(f"{ENDPOINT_SOURCE}{each}" for each in options.endpoint))
    if sources := config.words("inventory"):
        return sources
    paths = default_sources()
    for path in paths:
        with suppress(PermissionError):  # the Debian package hides /etc/fleettrace from other users
            if path.exists():
                return (str(path),)
    raise ConfigError(
        "no inventory: name one with -i FILE, FLEETTRACE_INVENTORY or ansible.cfg, or write one of "
        f"{', '.join(str(path) for path in paths)} (see inventory.example.yaml)"
    )


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:
        raise ConfigError("the working directory no longer exists: change to another one") from None
