"""Private keys, each read once a run, and the decision whether to accept a host's key."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko

from fleettrace.errors import HostError
from fleettrace.transport.fabric.known_hosts import HostKey, KnownHosts, append
from fleettrace.transport.interface import HostKeyPolicy
from fleettrace.transport.login_options import LoginOptions
from fleettrace.transport.ssh_errors import (
    SshFailure,
    host_key_changed,
    host_key_revoked,
    host_key_unknown,
    host_key_unsaved,
    key_failure,
)

__all__ = ["HostKeyCheck", "KeyRing"]

# paramiko's transport thread logs tracebacks, which Python prints on stderr where logging is not configured. What
# matters arrives as an exception.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


_MAX_PUBLIC_KEY = 1 << 16
"""Bytes of a public key's file that are read."""


class KeyRing:
    """Private keys and known_hosts files of a run. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[tuple[Path, tuple[Path, ...]], paramiko.PKey | HostError] = {}
        self._known: dict[Path, KnownHosts] = {}
        self._new = KnownHosts()

    def private_key(self, path: Path, certificates: tuple[Path, ...] = ()) -> paramiko.PKey:
        """Return the key in a file, with the certificate beside it (`-cert.pub`) or one of `certificates`.

        Raises `HostError` (`auth-failed`; `key-missing`, `key-unreadable`, `key-permissions`, `key-passphrase`,
        `key-invalid`).
        """
        with self._lock:
            found = self._keys.get((path, certificates))
            if found is None:
                try:
                    found = _load(path, certificates)
                except HostError as error:
                    found = error
                self._keys[path, certificates] = found
        if isinstance(found, HostError):
            raise HostError(found.state, found.code, found.message)
        return found

    def public_key(self, path: Path) -> bytes | None:
        """Return the public half of an identity: in `path` itself or in the `.pub` file beside it, else None."""
        for file in (path, path.with_name(f"{path.name}.pub")):
            try:
                words = file.read_bytes()[:_MAX_PUBLIC_KEY].split()
                if len(words) > 1 and words[0].startswith((b"ssh-", b"ecdsa-", b"sk-")):
                    return base64.b64decode(words[1], validate=True)
            except (OSError, ValueError):
                continue
        return None

    def host_keys(self, options: LoginOptions) -> list[HostKey]:
        """Return the entries of the known_hosts files for a host."""
        with self._lock:
            for path in options.known_hosts:
                if path not in self._known:
                    self._known[path] = KnownHosts.read(path)
            return self._lookup(options)

    def _lookup(self, options: LoginOptions) -> list[HostKey]:
        files = [*(self._known[path] for path in options.known_hosts), self._new]
        return [key for file in files for key in file.lookup(options.host_key_name)]

    def plain_host_keys(self, options: LoginOptions) -> list[HostKey]:
        """Return the entries of the host's name without its port. Call `host_keys` first."""
        if options.plain_key_name is None:
            return []
        with self._lock:
            return [key for path in options.known_hosts for key in self._known[path].lookup(options.plain_key_name)]

    def learn(self, options: LoginOptions, type_: str, key: str) -> list[HostKey]:
        """Add the key of a host without one to known_hosts, and know it for the rest of the run.

        Returns the host's entries after that. Adds nothing where another thread has added a key of the host meanwhile.
        Call `host_keys` for the same host first. Raises OSError.
        """
        with self._lock:
            if any(not entry.marker for entry in self._lookup(options)):
                return self._lookup(options)
            if options.new_keys is not None:
                append(options.new_keys, options.host_key_name, type_, key, hashed=options.hashed_names)
            self._new.learn(options.host_key_name, type_, key, f"{options.new_keys}:new")
            return self._lookup(options)


def _load(path: Path, certificates: tuple[Path, ...]) -> paramiko.PKey:
    try:
        status = path.stat()
        key: paramiko.PKey = paramiko.PKey.from_path(path)
    except FileNotFoundError:
        raise key_failure(SshFailure.KEY_MISSING, path) from None
    except OSError as error:
        raise key_failure(SshFailure.KEY_UNREADABLE, path, error.strerror) from None
    except (TypeError, paramiko.PasswordRequiredException):
        # `cryptography` raises TypeError where a password is missing.
        raise key_failure(SshFailure.KEY_PASSPHRASE, path) from None
    except Exception:
        # paramiko and `cryptography` raise many types for a file that holds no key that they know.
        raise key_failure(SshFailure.KEY_INVALID, path) from None
    # sshkey_perm_ok() of OpenSSH's authfile.c refuses a key of this user that other users can read.
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise key_failure(SshFailure.KEY_PERMISSIONS, path)
    for certificate in certificates:
        try:
            key.load_certificate(str(certificate))
        except (OSError, ValueError, paramiko.SSHException):
            continue
    return key


class HostKeyCheck(paramiko.MissingHostKeyPolicy):
    """Accept a host with a key in known_hosts, a host without one under `accept-new`, and no other host."""

    def __init__(self, options: LoginOptions, keys: KeyRing) -> None:
        self._options = options
        self._keys = keys
        self._known = keys.host_keys(options)
        self._plain = keys.plain_host_keys(options)

    def preferred(self, types: tuple[str, ...]) -> tuple[str, ...]:
        """Return the key types to ask the host for, those in known_hosts first: a host may have several keys."""
        known = {name for key in self._known or self._plain if not key.marker for name in _algorithms(key.type)}
        return tuple(sorted(types, key=lambda name: name not in known))

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Accept or refuse the host's key. paramiko calls this for every host, because it is given no known_hosts.

        Raises `HostError` (`host-key`).
        """
        type_, base64_key = key.get_name(), key.get_base64()
        same = [entry for entry in self._known if (entry.type, entry.base64) == (type_, base64_key)]
        shown = f"{type_} {_fingerprint(base64_key)}"
        if revoked := [entry for entry in same if entry.marker == "@revoked"]:
            raise host_key_revoked(shown, revoked[0].where)
        if any(not entry.marker for entry in same):
            return
        if others := [entry for entry in self._known if not entry.marker]:
            raise self._changed(shown, type_, others)
        # As check_host_key() of OpenSSH's sshconnect.c: an entry without the port serves where none has it.
        plain = [entry for entry in self._plain if (entry.type, entry.base64) == (type_, base64_key)]
        if revoked := [entry for entry in plain if entry.marker == "@revoked"]:
            raise host_key_revoked(shown, revoked[0].where)
        if plain:
            return
        if self._options.host_key is not HostKeyPolicy.ACCEPT_NEW:
            raise self._unknown(shown)
        self._learn(shown, type_, base64_key)

    def _learn(self, shown: str, type_: str, key: str) -> None:
        try:
            known = self._keys.learn(self._options, type_, key)
        except OSError as error:
            raise host_key_unsaved(self._options.new_keys, error.strerror) from None
        if all((entry.type, entry.base64) != (type_, key) for entry in known):
            raise self._changed(shown, type_, known)

    def _changed(self, shown: str, type_: str, known: list[HostKey]) -> HostError:
        entry = next((entry for entry in known if entry.type == type_), known[0])
        file = entry.where.rpartition(":")[0]
        return host_key_changed(
            shown,
            f"{entry.where} has {entry.type} {_fingerprint(entry.base64)}",
            file,
            self._options.host_key_name,
        )

    def _unknown(self, shown: str) -> HostError:
        files = self._options.known_hosts
        file = next((path for path in files if path.is_file()), files[0] if files else Path("~/.ssh/known_hosts"))
        authority = any(entry.marker == "@cert-authority" for entry in self._known)
        note = "this client ignores its @cert-authority lines" if authority else ""
        return host_key_unknown(shown, file, self._options.host, self._options.port, note)


def _algorithms(key_type: str) -> Iterator[str]:
    """Yield the signature algorithms of a type of keys."""
    if key_type == "ssh-rsa":
        yield from ("rsa-sha2-512", "rsa-sha2-256")
    else:
        yield key_type


def _fingerprint(key: str) -> str:
    """Return the fingerprint of a key in base64 as `ssh-keygen -l` prints it."""
    try:
        digest = hashlib.sha256(base64.b64decode(key)).digest()
    except ValueError:
        return "(unreadable)"
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
