"""Read known_hosts as OpenSSH does: names, wildcards, hashed names, ports, revoked keys.

paramiko's reader compares each line with all lines before it (minutes for 10,000 hosts) and supports neither wildcards
nor markers. This one reads a file once, puts plain names into a dictionary, and keeps keys as text until their use.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

__all__ = ["HostKey", "KnownHosts", "append"]


@dataclass(frozen=True, slots=True)
class HostKey:
    """The key of one line: its type (`ssh-ed25519`), the key in base64, and the line (`where`, as `file:line`)."""

    type: str
    base64: str
    where: str
    marker: str = ""
    """`@revoked`, `@cert-authority`, or empty."""


@dataclass(slots=True)
class KnownHosts:
    """The entries of one file. `KnownHosts()` has none."""

    _plain: dict[str, list[HostKey]] = field(default_factory=dict)
    _hashed: list[tuple[bytes, bytes, HostKey]] = field(default_factory=list)
    _patterns: list[tuple[list[re.Pattern[str]], list[re.Pattern[str]], HostKey]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> KnownHosts:
        """Read a file. As in OpenSSH, a file that cannot be read has no entries, and a bad line is ignored."""
        known = cls()
        try:
            text = path.read_text(errors="replace")
        except OSError:
            return known
        for number, line in enumerate(text.splitlines(), 1):
            known._add(line.split(), f"{path}:{number}")
        return known

    def learn(self, name: str, type_: str, key: str, where: str) -> None:
        """Add an entry, in memory only."""
        self._plain.setdefault(name.lower(), []).append(HostKey(type_, key, where))

    def _add(self, fields: list[str], where: str) -> None:
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#"):
            return
        names, type_, key = fields[:3]
        entry = HostKey(type_, key, where, marker)
        if names.startswith("|1|"):
            salt, _, digest = names[3:].partition("|")
            try:
                self._hashed.append((base64.b64decode(salt), base64.b64decode(digest), entry))
            except ValueError:
                return
        elif re.search(r"[*?!]", names):
            words = names.lower().split(",")
            self._patterns.append(
                (
                    [_pattern(word) for word in words if not word.startswith("!")],
                    [_pattern(word[1:]) for word in words if word.startswith("!")],
                    entry,
                )
            )
        else:
            for name in names.lower().split(","):
                self._plain.setdefault(name, []).append(entry)

    def lookup(self, name: str) -> list[HostKey]:
        """Return the entries of a host; `name` is `[host]:port` where the port is not 22."""
        name = name.lower()
        found = list(self._plain.get(name, ()))
        data = name.encode()
        found += [key for salt, digest, key in self._hashed if hmac.digest(salt, data, hashlib.sha1) == digest]
        for included, excluded, key in self._patterns:
            if any(pattern.match(name) for pattern in included) and not any(
                pattern.match(name) for pattern in excluded
            ):
                found.append(key)
        return found


def append(path: Path, name: str, type_: str, key: str, *, hashed: bool) -> None:
    """Append a host's key to a known_hosts file, which is created if it does not exist. Raises OSError.

    It is one write in append mode, so that the lines of two runs, or of a run and an `ssh`, do not mix.
    """
    name = _hashed(name.lower()) if hashed else name.lower()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        unfinished = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        line = f"{name} {type_} {key}\n".encode()
        os.write(file, b"\n" + line if unfinished else line)
    finally:
        os.close(file)


def _hashed(name: str) -> str:
    salt = secrets.token_bytes(hashlib.sha1().digest_size)
    parts = (salt, hmac.digest(salt, name.encode(), hashlib.sha1))
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in parts)


def _pattern(word: str) -> re.Pattern[str]:
    # sshd(8): only * and ? are wildcards; brackets belong to [host]:port.
    return re.compile(translate(word.replace("[", "[[]")))
