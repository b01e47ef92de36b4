"""A probe lands on the analysed instruction or nowhere: each memcached here is one that a wrong offset would crash."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fleettrace.binary.elf import build_id, parse
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.truth import Truth
from fleettrace.probes.optimized_uprobes import optimises
from tests.binary.builds import build, stripped
from tests.e2e.command import Command, Done
from tests.e2e.fleet import keys_of
from tests.e2e.local import Served, served

pytestmark = pytest.mark.lab

TRAFFIC = [Request("set", (b"k",)), *[Request("get", (b"k",))] * 211, *[Request("get", (b"absent",))] * 101]
MOVED = ("lld-bare", "mold-bare", "no-pie-bare")


def private(build: Path, directory: Path) -> Path:
    """Return a copy of a build with its own inode."""
    return Path(shutil.copy2(build, directory / "memcached"))


def without_unshare(directory: Path) -> dict[str, str]:
    """Return variables for a node where unshare(1) fails, so that bpftrace cannot read our symbol overlays."""
    (directory / "bin").mkdir()
    refusing = directory / "bin" / "unshare"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    return {"PATH": f"{refusing.parent}:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "no-overlay"])
@pytest.mark.parametrize("name", MOVED)
def test_address_other_than_file_offset_is_counted(name: str, overlay: bool, tmp_path: Path) -> None:
    variables = {} if overlay else without_unshare(tmp_path)
    with served(tmp_path, private(stripped(name), tmp_path)) as memcached:
        done, truth = memcached.trace(TRAFFIC, "--probe", "item", variables=variables)
        assert memcached.stats()["pid"] == str(memcached.pid)
    [instance] = done.host("here")["instances"]
    assert (instance["state"], instance["probe"]["kind"]) == ("ok", "item")
    assert keys_of(done.report["keys"]) == truth.by_key()


@pytest.mark.parametrize("shift", [1, 10])
def test_a_damaged_analysis_moves_no_probe(shift: int, tmp_path: Path) -> None:
    """The content's hash still matches; a probe by this analysis would land inside an instruction."""
    variables = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with served(tmp_path, private(stripped("plain"), tmp_path)) as memcached:
        memcached.trace(TRAFFIC, seconds=1, variables=variables)
        [file] = (tmp_path / "cache/fleettrace/binaries").iterdir()
        stored = json.loads(file.read_text())
        for function in stored["analysis"]["functions"]:
            for position in (function, function["entry"], function["cheapest"]):
                position["address"] += shift
                position["file_offset"] += shift
        file.write_text(json.dumps(stored))
        done, truth = memcached.trace(TRAFFIC, variables=variables)
        assert memcached.stats()["pid"] == str(memcached.pid)
    assert done.host("here")["instances"][0]["state"] == "ok"
    assert keys_of(done.report["keys"]) == truth.by_key()


@contextmanager
def all_served(directory: Path, binaries: Sequence[Path]) -> Iterator[list[Served]]:
    """Each of these binaries as a memcached of one host; the first one's inventory has them all."""
    with ExitStack() as running:
        memcacheds = []
        for number, binary in enumerate(binaries):
            own = directory / str(number)
            own.mkdir()
            memcacheds.append(running.enter_context(served(own, private(binary, own))))
        ports = [memcached.port for memcached in memcacheds]
        memcacheds[0].inventory.write_text(
            f"all: {{hosts: {{here: {{ansible_connection: local, fleettrace_instances: {ports}}}}}}}\n"
        )
        yield memcacheds


def trace_all(memcacheds: Sequence[Served], *options: str) -> tuple[Done, list[Truth]]:
    """Trace them at once, under the same traffic each: the command's end, and the truth of each."""
    arguments = ["run", "-i", str(memcacheds[0].inventory), "--duration", "3s", "-v", "--output", "json", *options]
    with Command(arguments) as command:
        command.wait_for_trace("here")
        truths = [memcached.send(TRAFFIC, 1000) for memcached in memcacheds]
        return command.finish(), truths


def forged(binary: Path, identity: str, directory: Path) -> Path:
    """Return a copy of `binary` with the build id of another one."""
    data = binary.read_bytes()
    own = build_id(parse(data))
    assert own is not None
    copy = directory / "forged"
    copy.write_bytes(data.replace(bytes.fromhex(own), bytes.fromhex(identity)))
    copy.chmod(0o755)
    return copy


def test_stripped_and_unstripped_of_one_build_are_counted(tmp_path: Path) -> None:
    with all_served(tmp_path, [build("plain"), stripped("plain")]) as memcacheds:
        done, truths = trace_all(memcacheds)
    assert [one["state"] for one in done.host("here")["instances"]] == ["ok", "ok"]
    assert [one["probe"]["overlay"] for one in done.host("here")["instances"]] == [False, True]
    assert keys_of(done.report["keys"]) == truths[0].by_key() + truths[1].by_key()


@pytest.mark.parametrize("first", ["forged", "honest"])
def test_forged_build_id_misleads_no_probe(first: str, tmp_path: Path) -> None:
    honest = stripped("plain")
    identity = build_id(parse(honest.read_bytes()))
    assert identity is not None
    both = [forged(stripped("cf-protection"), identity, tmp_path), honest]
    with all_served(tmp_path, both if first == "forged" else both[::-1]) as memcacheds:
        done, truths = trace_all(memcacheds)
        assert [one.stats()["pid"] for one in memcacheds] == [str(one.pid) for one in memcacheds]
    assert [one["state"] for one in done.host("here")["instances"]] == ["ok", "ok"]
    assert keys_of(done.report["keys"]) == truths[0].by_key() + truths[1].by_key()


def test_probe_is_set_behind_an_entry_nop(tmp_path: Path) -> None:
    with served(tmp_path, private(stripped("nop-entry"), tmp_path)) as memcached:
        done, truth = memcached.trace(TRAFFIC, "--probe", "item")
        assert memcached.stats()["pid"] == str(memcached.pid)
    [instance] = done.host("here")["instances"]
    assert (instance["state"], instance["probe"]["offset"]) == ("ok", 5)
    assert keys_of(done.report["keys"]) == truth.by_key()


@pytest.mark.skipif(not optimises(platform.release(), platform.machine()), reason="this kernel leaves nops alone")
def test_script_probe_on_a_nop_is_warned_of(tmp_path: Path) -> None:
    script = tmp_path / "own.bt"
    script.write_text(
        "/* COUNTS: @x */\nuprobe:${exe}:do_item_get /${pids}/ { $key = arg0; $length = arg1; @x[${key}] = count(); }\n"
    )
    with served(tmp_path, private(build("plain"), tmp_path)) as memcached:
        done, truth = memcached.trace(TRAFFIC, "--script", str(script))
    assert "probe-on-nop" in [warning["code"] for warning in done.report["warnings"]]
    assert keys_of(done.report["keys"]) == truth.by_key()
