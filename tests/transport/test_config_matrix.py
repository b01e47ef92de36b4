"""A matrix of ssh_config files: our target is that of `ssh -G`, and the reader without ssh agrees or refuses."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.transport.interface import Target
from fleettrace.transport.login_options import LoginOptions, login_options
from fleettrace.transport.ssh_query import SshQueries
from tests.transport.config_matrix import HOSTS, MATRIX, written

ALGORITHMS = ("kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms", "ciphers", "macs")

IN_HARDWARE = tuple(f"~/.ssh/id_{kind}" for kind in ("ecdsa_sk", "ed25519_sk", "xmss", "dsa"))
"""Default keys that a small reader may leave out."""
HARDWARE = tuple(Path(path).expanduser() for path in IN_HARDWARE)

NEEDS_SSH = re.compile("match|canonical|algorithms|ciphers|ignoreunknown", re.IGNORECASE)
"""What the reader for controllers without ssh refuses to guess."""

assert len(MATRIX) >= 60


@pytest.fixture
def config(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The file of a case, with the files that it may include beside it."""
    return written(tmp_path, request.param)


class Refused(Exception):  # noqa: N818
    """ssh does not accept the file."""


def answer(file: Path, host: str) -> dict[str, list[str]]:
    """Return what `ssh -G` prints about a host."""
    done = subprocess.run(["ssh", "-G", "-F", file, "--", host], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr)
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def expanded(path: str, values: dict[str, str]) -> str:
    """Return a path with its tokens replaced, as ssh_config(5) has them."""
    path = re.sub("%(.)", lambda token: values[token[1]], path)
    return str(Path(path).expanduser())


def by_ssh(file: Path, host: str) -> dict[str, object]:
    """Return the target that `ssh` would log in to."""
    found, usual = answer(file, host), answer(Path(os.devnull), "any")
    name, port, user = found["hostname"][0], found["port"][0], found["user"][0]
    tokens = {"h": name, "n": host, "r": user, "p": port, "%": "%"}
    jump = found.get("proxyjump", ["none"])[0]
    command = found.get("proxycommand", ["none"])[0]
    return {
        "host": name,
        "port": int(port),
        "user": user,
        "jumps": [bastion(file, each) for each in jump.split(",")] if jump != "none" else [],
        "command": expanded(command, tokens) if command != "none" and jump == "none" else None,
        "identities": [expanded(path, tokens) for path in found["identityfile"] if path not in IN_HARDWARE],
        "only": found["identitiesonly"] == ["yes"],
        "known": [
            *(str(Path(path).expanduser()) for path in found["userknownhostsfile"][0].split() if path != "none"),
            *(str(Path(path).expanduser()) for path in found["globalknownhostsfile"][0].split() if path != "none"),
        ],
        "algorithms": {word: found[word] for word in ALGORITHMS if found[word] != usual[word]},
        "alias": found.get("hostkeyalias"),
        "checking": found["stricthostkeychecking"][0] in ("accept-new", "false", "no", "off"),
    }


def bastion(file: Path, jump: str) -> tuple[str, int, str]:
    """Return address, port and user of one bastion of a ProxyJump."""
    user, _, place = jump.removeprefix("ssh://").rpartition("@")
    name, _, port = place.partition(":")
    found = answer(file, name)
    return found["hostname"][0], int(port or found["port"][0]), user or found["user"][0]


def by_us(file: Path, host: str, queries: SshQueries, executable: str | None = None) -> dict[str, object]:
    """Return the target that fleettrace would log in to. Raises `ConfigError`."""
    target = Target(host, ssh_config=file, ssh_executable=executable)
    options = login_options(target, queries)
    known = [str(path) for path in options.known_hosts]
    alias = options.host_key_name if options.host_key_name not in usual_names(options) else None
    return {
        "host": options.host,
        "port": options.port,
        "user": options.user,
        "jumps": list(bastions(options)),
        "command": options.proxy_command,
        "identities": [str(path) for path in options.identities if str(path) not in map(str, HARDWARE)],
        "only": options.identities_only,
        "known": known,
        "algorithms": {word: [",".join(names)] for word, names in options.algorithms},
        "alias": None if alias is None else [alias],
        "checking": options.host_key.value == "accept-new",
    }


def usual_names(options: LoginOptions) -> tuple[str, str]:
    return options.host, f"[{options.host}]:{options.port}"


def bastions(options: LoginOptions) -> Iterator[tuple[str, int, str]]:
    """Yield the bastions, from the controller's side on."""
    if options.bastion is not None:
        yield from bastions(options.bastion)
        yield options.bastion.host, options.bastion.port, options.bastion.user


def outcome(read: object, *arguments: object) -> object:
    """Return the target, or "refused"."""
    try:
        return read(*arguments)  # type: ignore[operator]
    except (Refused, ConfigError):
        return "refused"


@pytest.mark.parametrize("config", MATRIX, indirect=True)
def test_target_is_that_of_ssh(config: Path) -> None:
    queries = SshQueries()
    for host in HOSTS:
        assert outcome(by_us, config, host, queries) == outcome(by_ssh, config, host), host


@pytest.mark.parametrize("config", MATRIX, indirect=True)
def test_reader_without_ssh_agrees_or_refuses(config: Path) -> None:
    queries = SshQueries()
    for host in HOSTS:
        ours, theirs = outcome(by_us, config, host, queries, "/no/such/ssh"), outcome(by_ssh, config, host)
        assert ours == theirs or (ours == "refused" and NEEDS_SSH.search(config.read_text())), host
