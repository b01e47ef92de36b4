"""Open what ansible-vault encrypted: its formats 1.1 and 1.2, with passwords from files, programs and the terminal.

A password is read when the first secret is needed, and a secret is decrypted when its value is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import unhexlify
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.inventory.password_file import read_password

__all__ = ["VaultSecrets", "VaultSource", "vault_sources"]

_HEADER = re.compile(r"\$ANSIBLE_VAULT;(1\.[12]);(\w+)(?:;([^\r\n]+))?\s*")
_DEFAULT_LABEL = "default"
# lib/ansible/parsing/vault/__init__.py, VaultAES256: PBKDF2 with SHA-256, 32 + 32 + 16 bytes.
_ROUNDS = 10_000
_KEY_BYTES, _IV_BYTES = 32, 16

Prompt = Callable[[str], str]
"""Asks the user for a password; the argument is the question."""


@dataclass(frozen=True, slots=True)
class VaultSource:
    """Where one password comes from."""

    label: str
    source: str
    """A file, a program, or `prompt`."""

    @classmethod
    def parse(cls, text: str) -> VaultSource:
        """Return the source of `LABEL@SOURCE`, or of a source alone, as Ansible's --vault-id."""
        label, at, source = text.partition("@")
        return cls(label or _DEFAULT_LABEL, source) if at else cls(_DEFAULT_LABEL, text)


@dataclass(slots=True)
class VaultSecrets:
    """The passwords of a run, each read once, when it is first tried."""

    sources: Sequence[VaultSource] = ()
    prompt: Prompt | None = None
    _passwords: dict[VaultSource, bytes] = field(default_factory=dict, repr=False)

    def decrypt(self, text: str, where: str) -> str:
        """Return the plain text of an encrypted `text`; `where` names its place in errors.

        The password with the label of the text is tried first, then the others in their order, as in Ansible. Raises
        `ConfigError`, without any part of a secret.
        """
        label, salt, digest, data = _parse(text, where)
        if not self.sources:
            raise ConfigError(
                f"{where}: it is encrypted by ansible-vault: give its password with --vault-password-file, --vault-id "
                "or --ask-vault-pass"
            )
        for source in sorted(self.sources, key=lambda each: each.label != label):
            keys = _keys(self._password(source), salt)
            if hmac.compare_digest(hmac.digest(keys[_KEY_BYTES : 2 * _KEY_BYTES], data, "sha256"), digest):
                return _plain(keys, data, where)
        labels = ", ".join(dict.fromkeys(source.label for source in self.sources))
        named = f" (its label is {label!r})" if label else ""
        raise ConfigError(f"{where}: none of the vault passwords opens it{named}: tried {labels}")

    def _password(self, source: VaultSource) -> bytes:
        if source not in self._passwords:
            self._passwords[source] = _read_password(source, self.prompt)
        return self._passwords[source]


def _parse(text: str, where: str) -> tuple[str | None, bytes, bytes, bytes]:
    """Return label, salt, HMAC and encrypted data."""
    text = text.strip()
    header = _HEADER.match(text)
    if header is None or header[2] != "AES256":
        raise ConfigError(f"{where}: expected the header of ansible-vault 1.1 or 1.2 with AES256")
    try:
        salt, digest, data = unhexlify("".join(text[header.end() :].split())).split(b"\n", 2)
        return header[3], unhexlify(salt), unhexlify(digest), unhexlify(data)
    except ValueError:
        raise ConfigError(f"{where}: the encrypted text is damaged: copy it from its source again") from None


@lru_cache(maxsize=256)
def _keys(password: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password, salt, _ROUNDS, 2 * _KEY_BYTES + _IV_BYTES)


def _plain(keys: bytes, data: bytes, where: str) -> str:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CTR
    from cryptography.hazmat.primitives.padding import PKCS7

    decryptor = Cipher(AES(keys[:_KEY_BYTES]), CTR(keys[2 * _KEY_BYTES :])).decryptor()
    unpadder = PKCS7(128).unpadder()
    try:
        padded = decryptor.update(data) + decryptor.finalize()
        return (unpadder.update(padded) + unpadder.finalize()).decode("utf-8")
    except ValueError:
        raise ConfigError(f"{where}: the decrypted text is not UTF-8, or its padding is wrong") from None


def _read_password(source: VaultSource, prompt: Prompt | None) -> bytes:
    if source.source not in ("prompt", "prompt_ask_vault_pass"):
        path = Path(source.source)
        # As Ansible: a program with a name that ends with -client is given the label.
        arguments = ["--vault-id", source.label] if path.stem.endswith("-client") else []
        return read_password(path, "the vault password", arguments)
    if prompt is None:
        raise ConfigError(f"the vault password {source.label!r} must be typed, which needs a terminal")
    password = prompt("Vault password: " if source.label == _DEFAULT_LABEL else f"Vault password ({source.label}): ")
    if not password:
        raise ConfigError("the typed vault password is empty")
    return password.encode()


def vault_sources(ids: Sequence[str], files: Sequence[str], *, ask: bool) -> Iterator[VaultSource]:
    """Yield the sources in Ansible's order: the ids, the password files, and the terminal."""
    yield from map(VaultSource.parse, ids)
    yield from (VaultSource(_DEFAULT_LABEL, file) for file in files)
    if ask:
        yield VaultSource(_DEFAULT_LABEL, "prompt")
