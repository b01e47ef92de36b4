"""Secrets of ansible-vault: what Ansible encrypts is read here, and every other text is an error without the secret."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.inventory.load import load_inventory
from fleettrace.inventory.read_options import ReadOptions
from fleettrace.inventory.resolver import Resolver
from fleettrace.inventory.vault import VaultSecrets, VaultSource, vault_sources

SECRET = "open sesame: ü {{ not a template }}\n"


def encrypted(secret: str, password: bytes = b"pw", label: str = "default") -> str:
    """Return what ansible-vault makes of a secret; a label other than `default` makes it version 1.2."""
    vault: Any = importlib.import_module("ansible.parsing.vault")
    library = vault.VaultLib([(label, vault.VaultSecret(password))])
    return str(library.encrypt(secret, vault_id=None if label == "default" else label).decode())


def secrets(directory: Path, **passwords: str) -> VaultSecrets:
    """Return secrets with a password file for each label."""
    sources = []
    for label, password in passwords.items():
        (directory / label).write_text(password + "\n")
        sources.append(VaultSource(label, str(directory / label)))
    return VaultSecrets(tuple(sources))


@settings(max_examples=25, deadline=None)
@given(
    secret=st.text(max_size=200), password=st.binary(min_size=1, max_size=20).filter(lambda text: text.strip() == text)
)
def test_secret_of_ansible_is_decrypted(tmp_path_factory: pytest.TempPathFactory, secret: str, password: bytes) -> None:
    directory = tmp_path_factory.mktemp("vault")
    (directory / "password").write_bytes(password)
    own = VaultSecrets((VaultSource("default", str(directory / "password")),))
    assert own.decrypt(encrypted(secret, password), "here") == secret


def test_label_chooses_the_password(tmp_path: Path) -> None:
    text = encrypted(SECRET, b"blue", "prod")
    assert text.startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert secrets(tmp_path, dev="red", prod="blue").decrypt(text, "here") == SECRET


def test_other_passwords_are_tried_after_the_labels(tmp_path: Path) -> None:
    assert secrets(tmp_path, prod="red", dev="blue").decrypt(encrypted(SECRET, b"blue", "prod"), "here") == SECRET


def test_password_is_read_when_it_is_needed(tmp_path: Path) -> None:
    program = tmp_path / "vault-client"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\necho pw\n')
    program.chmod(0o700)
    own = VaultSecrets(tuple(vault_sources((f"prod@{program}",), (), ask=False)))
    assert not (tmp_path / "asked").exists()
    for _ in range(2):
        assert own.decrypt(encrypted(SECRET), "here") == SECRET
    assert (tmp_path / "asked").read_text() == "--vault-id prod\n"


def test_prompt_asks_once() -> None:
    asked: list[str] = []

    def prompt(question: str) -> str:
        asked.append(question)
        return "pw"

    own = VaultSecrets((VaultSource("default", "prompt"),), prompt)
    assert [own.decrypt(encrypted(SECRET), "here") for _ in range(2)] == [SECRET, SECRET]
    assert asked == ["Vault password: "]


def test_wrong_password_names_place_and_label(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"here: none of the vault passwords opens it .*'prod'.*: tried dev"
    ) as caught:
        secrets(tmp_path, dev="red").decrypt(encrypted(SECRET, b"blue", "prod"), "here")
    assert "red" not in str(caught.value).replace("tried", "")


def test_missing_password_names_the_options() -> None:
    with pytest.raises(ConfigError, match="--vault-password-file"):
        VaultSecrets().decrypt(encrypted(SECRET), "here")


def _changed(text: str) -> list[str]:
    lines = text.splitlines()
    last = lines[-1]
    return [
        "\n".join([*lines[:-1], last[:-1] + ("0" if last[-1] != "0" else "1")]),
        "\n".join(lines[:-1]),
        lines[0],
        text.replace("AES256", "AES"),
        text.replace("1.1", "1.0"),
        text.replace("3", "x"),
        "\n".join([lines[0], "00" * 40]),
    ]


@pytest.mark.parametrize("number", range(7))
def test_damaged_text_is_an_error(tmp_path: Path, number: int) -> None:
    with pytest.raises(ConfigError, match="here: ") as caught:
        secrets(tmp_path, default="pw").decrypt(_changed(encrypted(SECRET))[number], "here")
    assert "sesame" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "mode", "cause"),
    [
        (None, 0o600, "cannot be read"),
        ("\n", 0o600, "empty"),
        ("#!/bin/sh\nexit 3\n", 0o700, "status 3"),
        ("x", 0o700, "run"),
    ],
)
def test_faulty_password_source_is_named(tmp_path: Path, content: str | None, mode: int, cause: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    own = VaultSecrets((VaultSource("default", str(path)),))
    with pytest.raises(ConfigError, match=cause) as caught:
        own.decrypt(encrypted(SECRET), "here")
    assert str(path) in str(caught.value)


def test_secret_that_no_one_needs_stays_encrypted(tmp_path: Path) -> None:
    indented = encrypted("hush", b"unknown").replace("\n", "\n        ")
    (tmp_path / "inventory.yml").write_text(
        f"all:\n  hosts:\n    h1:\n      other: !vault |\n        {indented}\n      ansible_user: ops\n"
    )
    inventory = load_inventory([str(tmp_path / "inventory.yml")])
    resolver = Resolver(inventory, secrets(tmp_path, default="pw"))
    assert resolver.value(inventory.hosts["h1"], "ansible_user") == "ops"
    with pytest.raises(ConfigError, match=r"inventory\.yml:4: other of h1: none of the vault passwords"):
        resolver.value(inventory.hosts["h1"], "other")


def test_secret_is_not_evaluated(tmp_path: Path) -> None:
    indented = encrypted("{{ 6 * 7 }}").replace("\n", "\n        ")
    (tmp_path / "inventory.yml").write_text(f"all:\n  hosts:\n    h1:\n      a: !vault |\n        {indented}\n")
    inventory = load_inventory([str(tmp_path / "inventory.yml")])
    assert Resolver(inventory, secrets(tmp_path, default="pw")).value(inventory.hosts["h1"], "a") == "{{ 6 * 7 }}"


def test_encrypted_inventory_without_password_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(encrypted("h1\n"))
    with pytest.raises(ConfigError, match="--vault-password-file"):
        load_inventory([str(tmp_path / "hosts")])
    own = secrets(tmp_path, default="pw")
    inventory = load_inventory([str(tmp_path / "hosts")], ReadOptions(decrypt=own.decrypt))
    assert list(inventory.hosts) == ["h1"]
