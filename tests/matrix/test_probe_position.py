"""Every bpftrace sets a probe by overlay and by file offset at the same byte of the file, wherever it is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.binary.builds import stripped
from tests.e2e.fleet import keys_of
from tests.e2e.local import served
from tests.e2e.test_probe_position import MOVED, TRAFFIC
from tests.matrix.roots import RELEASES, bpftrace_of

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "no-overlay"])
@pytest.mark.parametrize("name", MOVED)
@pytest.mark.parametrize("release", RELEASES)
def test_address_other_than_file_offset_is_counted(release: str, name: str, overlay: bool, tmp_path: Path) -> None:
    command = bpftrace_of(release, tmp_path)
    if not overlay:
        blind = tmp_path / "blind"
        blind.write_text(f'#!/bin/sh\nexec env -u BCC_SYMFS {command} "$@"\n')
        blind.chmod(0o755)
        command = str(blind)
    binary = Path(shutil.copy2(stripped(name), tmp_path / "memcached"))
    with served(tmp_path, binary, bpftrace=command) as memcached:
        done, truth = memcached.trace(TRAFFIC, "--probe", "item")
        assert memcached.stats()["pid"] == str(memcached.pid)
    [instance] = done.host("here")["instances"]
    assert (instance["state"], instance["probe"]["overlay"]) == ("ok", overlay)
    assert keys_of(done.report["keys"]) == truth.by_key()
