"""Who we are and whom we believe: private keys, each read once a run, and the decision on a host's key."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko

from fleettrace.errors import HostError, HostState
from fleettrace.transport.fabric.known_hosts import HostKey, KnownHosts, append
from fleettrace.transport.interface import HostKeyPolicy
from fleettrace.transport.ssh_config import Route

__all__ = ["HostKeyCheck", "KeyRing"]

# paramiko's transport thread logs tracebacks, and Python prints them where nobody set logging up. What matters
# arrives as an exception.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


class KeyRing:
    """Private keys and known_hosts files of a run. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[tuple[Path, tuple[Path, ...]], paramiko.PKey | HostError] = {}
        self._known: dict[Path, KnownHosts] = {}
        self._new = KnownHosts()

    def private_key(self, path: Path, certificates: tuple[Path, ...] = ()) -> paramiko.PKey:
        """The key in a file, with the certificate beside it (`-cert.pub`) or one of `certificates`.

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

    def host_keys(self, route: Route) -> list[HostKey]:
        """What the known_hosts files say about a host."""
        with self._lock:
            for path in route.known_hosts:
                if path not in self._known:
                    self._known[path] = KnownHosts.read(path)
            return self._lookup(route)

    def _lookup(self, route: Route) -> list[HostKey]:
        files = [*(self._known[path] for path in route.known_hosts), self._new]
        return [key for file in files for key in file.lookup(route.host_key_name)]

    def learn(self, route: Route, type_: str, key: str) -> list[HostKey]:
        """Write down the key of a host that none was known of, and know it for the rest of the run.

        Gives what is known of the host then: another thread may have learned a key of it meanwhile, and then nothing is
        written. `host_keys` was asked before. Raises OSError.
        """
        with self._lock:
            if any(not entry.marker for entry in self._lookup(route)):
                return self._lookup(route)
            if route.new_keys is not None:
                append(route.new_keys, route.host_key_name, type_, key, hashed=route.hashed_names)
            self._new.learn(route.host_key_name, type_, key, f"{route.new_keys}:new")
            return self._lookup(route)


def _load(path: Path, certificates: tuple[Path, ...]) -> paramiko.PKey:
    def unusable(code: str, message: str) -> HostError:
        return HostError(HostState.AUTH_FAILED, code, f"key file {path} {message}")

    try:
        about = path.stat()
        key: paramiko.PKey = paramiko.PKey.from_path(path)
    except FileNotFoundError:
        raise unusable("key-missing", "does not exist: correct `ansible_ssh_private_key_file`") from None
    except OSError as error:
        raise unusable("key-unreadable", f"cannot be read: {error.strerror}") from None
    except (TypeError, paramiko.PasswordRequiredException):
        # TypeError is how `cryptography` says that a password is missing.
        raise unusable("key-passphrase", "has a passphrase: `ssh-add` it to an agent") from None
    except Exception:
        # paramiko and `cryptography` raise what they like for a file that holds no key they know.
        raise unusable("key-invalid", "holds no private key of a kind known here (RSA, ECDSA, Ed25519)") from None
    # sshkey_perm_ok() of OpenSSH's authfile.c: a key of ours that others can read is no key.
    if about.st_uid == os.getuid() and about.st_mode & 0o077:
        raise unusable("key-permissions", "can be read by others: `chmod 600` it")
    for certificate in certificates:
        try:
            key.load_certificate(str(certificate))
        except (OSError, ValueError, paramiko.SSHException):
            continue
    return key


class HostKeyCheck(paramiko.MissingHostKeyPolicy):
    """Accepts a host whose key stands in known_hosts; one of whom none does, where that is wanted; and no other."""

    def __init__(self, route: Route, keys: KeyRing) -> None:
        self._route = route
        self._keys = keys
        self._known = keys.host_keys(route)

    def preferred(self, types: tuple[str, ...]) -> tuple[str, ...]:
        """Host key types to ask for: those that are known first, so that a host with several shows a known one."""
        known = {name for key in self._known if not key.marker for name in _algorithms(key.type)}
        return tuple(sorted(types, key=lambda name: name not in known))

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Called for every host, since paramiko itself is told of no keys. Raises `HostError` (`host-key`)."""
        offered = (key.get_name(), key.get_base64())
        same = [entry for entry in self._known if (entry.type, entry.base64) == offered]
        if revoked := [entry for entry in same if entry.marker == "@revoked"]:
            raise self._refused(
                "host-key-revoked", f"its host key is revoked ({revoked[0].where}): replace the key there"
            )
        if any(not entry.marker for entry in same):
            return
        print_ = f"{offered[0]} {_fingerprint(offered[1])}"
        if others := [entry for entry in self._known if not entry.marker]:
            raise self._refused("host-key-changed", self._changed(print_, offered[0], others))
        if self._route.host_key is HostKeyPolicy.ACCEPT_NEW:
            self._learn(print_, *offered)
            return
        raise self._refused("host-key-unknown", self._unknown(print_))

    def _learn(self, print_: str, type_: str, key: str) -> None:
        try:
            known = self._keys.learn(self._route, type_, key)
        except OSError as error:
            raise self._refused(
                "host-key-unsaved",
                f"its new host key cannot be written to {self._route.new_keys} ({error.strerror}): correct that, for "
                "else the next run would believe any other key as well",
            ) from None
        if all((entry.type, entry.base64) != (type_, key) for entry in known):
            raise self._refused("host-key-changed", self._changed(print_, type_, known))

    def _changed(self, print_: str, type_: str, known: list[HostKey]) -> str:
        entry = next((entry for entry in known if entry.type == type_), known[0])
        file = entry.where.rpartition(":")[0]
        return (
            f"its host key changed: it shows {print_}, {entry.where} has {entry.type} {_fingerprint(entry.base64)}; "
            "someone may sit in between: if the host was reinstalled, "
            f"`ssh-keygen -f {file} -R '{self._route.host_key_name}'` and add the new key"
        )

    def _unknown(self, print_: str) -> str:
        files = self._route.known_hosts
        file = next((path for path in files if path.is_file()), files[0] if files else Path("~/.ssh/known_hosts"))
        scan = "" if self._route.port == 22 else f"-p {self._route.port} "
        authority = any(entry.marker == "@cert-authority" for entry in self._known)
        return (
            f"its host key {print_} is not in {file}: if that is its key, "
            f"`ssh-keyscan {scan}{self._route.host} >> {file}`, or --host-key accept-new"
            + (" (@cert-authority lines are not used)" if authority else "")
        )

    def _refused(self, code: str, message: str) -> HostError:
        return HostError(HostState.HOST_KEY, code, message)


def _algorithms(key_type: str) -> Iterator[str]:
    if key_type == "ssh-rsa":
        yield from ("rsa-sha2-512", "rsa-sha2-256")
    else:
        yield key_type


def _fingerprint(key: str) -> str:
    try:
        digest = hashlib.sha256(base64.b64decode(key)).digest()
    except ValueError:
        return "(unreadable)"
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
