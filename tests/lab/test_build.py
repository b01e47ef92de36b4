"""memcached is built once and cached."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from fleettrace.errors import FleettraceError
from fleettrace.lab import build
from fleettrace.lab.packages import Package, missing_packages, require


def test_unknown_variant_is_refused() -> None:
    with pytest.raises(FleettraceError, match="no memcached variant `nope`: expected one of plain"):
        build.memcached_binary("nope")


def test_require_names_missing_packages_and_cure() -> None:
    absent = Package("no-such-package", "nothing", "no-such-program-at-all")
    assert missing_packages([absent, Package("sh", "a shell", "/bin/sh")]) == [absent]
    with pytest.raises(FleettraceError, match=r"no-such-package \(nothing\); run: apt-get install .* no-such-package"):
        require([absent], "this")


def test_cached_build_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETTRACE_CACHE", str(tmp_path))
    cached = tmp_path / f"memcached-{build.codename()}-{platform.machine()}" / "plain/memcached"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"binary")
    assert build.memcached_binary() == cached


def test_deb_src_writes_source_entries_only(tmp_path: Path) -> None:
    build.deb_src(tmp_path)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "deb-src" in text
    assert not any(line == "Types: deb" or line.startswith("deb ") for line in text.splitlines())


@pytest.mark.lab
@pytest.mark.slow
def test_plain_build_has_the_probed_symbols() -> None:
    symbols = subprocess.run(["nm", build.memcached_binary()], capture_output=True, text=True, check=True).stdout
    assert {"do_item_get", "process_command_ascii"} <= {line.split()[-1].split(".")[0] for line in symbols.splitlines()}
