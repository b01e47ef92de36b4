"""Reading and writing known_hosts, compared with ssh-keygen."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleettrace.transport.fabric.known_hosts import KnownHosts, append

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIA0ZTpq+8wzaGBDHLrk3N6G0rT3pYLGp4hKq8mO0x1aB"
OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIBBBTpq+8wzaGBDHLrk3N6G0rT3pYLGp4hKq8mO0x1aB"
LINES = f"""
# a comment
web1,10.0.0.1 ssh-ed25519 {KEY} who@where
[web2]:2222 ssh-ed25519 {KEY}
*.example.org,!bad.example.org ssh-ed25519 {KEY}
10.1.?.* ssh-ed25519 {OTHER}
web1 ssh-ed25519 {OTHER}
broken line
"""
NAMES = [
    "web1", "10.0.0.1", "web2", "[web2]:2222", "[web1]:2222", "a.example.org", "bad.example.org", "10.1.2.33",
    "10.1.22.3", "unknown",
]  # fmt: skip


def found_by_ssh_keygen(path: Path, name: str) -> list[str]:
    done = subprocess.run(["ssh-keygen", "-F", name, "-f", path], capture_output=True, text=True, check=False)
    return [line.split()[2] for line in done.stdout.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
def test_finds_what_ssh_keygen_finds(tmp_path: Path, name: str, hashed: bool) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(LINES)
    if hashed:
        # ssh-keygen hashes no file that has a bad line.
        path.write_text(LINES.replace("broken line\n", ""))
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], capture_output=True, check=False)
        assert "|1|" in path.read_text()
    found = [key.base64 for key in KnownHosts.read(path).lookup(name)]
    assert sorted(found) == sorted(found_by_ssh_keygen(path, name))


def test_lookup_ignores_case(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"Web1 ssh-ed25519 {KEY}\n")
    assert [key.base64 for key in KnownHosts.read(path).lookup("wEB1")] == [KEY]


def test_lookup_returns_marker_and_line(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"\n@revoked web1 ssh-ed25519 {KEY}\n@cert-authority *.org ssh-ed25519 {KEY}\n")
    (revoked,) = KnownHosts.read(path).lookup("web1")
    assert (revoked.marker, revoked.type, revoked.where) == ("@revoked", "ssh-ed25519", f"{path}:2")
    assert [key.marker for key in KnownHosts.read(path).lookup("a.org")] == ["@cert-authority"]


def test_missing_file_is_empty(tmp_path: Path) -> None:
    assert KnownHosts.read(tmp_path / "none").lookup("web1") == []


@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
@pytest.mark.parametrize("name", ["Web9", "[web9]:2222", "10.0.0.9"])
def test_ssh_keygen_finds_an_appended_key(tmp_path: Path, name: str, hashed: bool) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    append(path, name, "ssh-ed25519", KEY, hashed=hashed)
    # ssh looks names up in small letters, ssh-keygen as they are.
    assert found_by_ssh_keygen(path, name.lower()) == [KEY]
    assert [key.base64 for key in KnownHosts.read(path).lookup(name)] == [KEY]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (name.lower() in path.read_text()) is not hashed


def test_append_completes_an_unfinished_line(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"web1 ssh-ed25519 {KEY}")
    append(path, "web2", "ssh-ed25519", OTHER, hashed=False)
    assert path.read_text() == f"web1 ssh-ed25519 {KEY}\nweb2 ssh-ed25519 {OTHER}\n"
