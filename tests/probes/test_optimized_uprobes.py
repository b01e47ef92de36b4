"""No probe sits on a 5-byte nop that the kernel would replace by a call."""

from __future__ import annotations

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.binary.cheapest import Instruction, InstructionCost
from fleettrace.probes.model import ProbeKind, ProbeOptions, UnsupportedError
from fleettrace.probes.optimized_uprobes import choose_for_kernel, optimises
from fleettrace.probes.script import has_own_attach_points, read_script
from tests.binary.builds import build
from tests.e2e.command import REPOSITORY


@pytest.fixture(scope="module")
def nops() -> BinaryAnalysis:
    """A build in which every function begins with such a nop."""
    return analyse(build("nop-entry").read_bytes())


@pytest.mark.parametrize(
    ("kernel", "arch", "expected"),
    [
        ("6.17.13", "x86_64", False),
        ("6.18.0-rc1", "x86_64", True),
        ("7.3.1", "x86_64", True),
        ("5.10.0-35-amd64", "x86_64", False),
        ("6.18.44", "aarch64", False),
        ("unknown", "x86_64", True),
    ],
)
def test_optimises_is_true_from_6_18_on(kernel: str, arch: str, expected: bool) -> None:
    assert optimises(kernel, arch) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("0f1f440000", True),
        ("0f1f440008", True),
        ("660f1f4000", True),
        ("6666666690", True),
        ("e900000000", True),
        ("e901000000", False),
        ("e801000000", False),
        ("488d7c2408", False),
        ("90", False),
        ("0f1f4000", False),
        ("b800000000", False),
    ],
)
def test_is_nop5_recognizes_every_encoding(code: str, expected: bool) -> None:
    assert Instruction(0, 0, 4, "", InstructionCost.STEPPED, 0, "f30f1efa" + code).is_nop5 is expected


@pytest.mark.parametrize(
    "options", [ProbeOptions(), ProbeOptions(misses=True, sizes=True), ProbeOptions(ProbeKind.COMMAND)]
)
@pytest.mark.parametrize("overlay", [True, False])
@pytest.mark.parametrize("kernel", ["6.1.0", "6.18.44"])
def test_plan_avoids_nop5_where_the_kernel_optimizes(
    nops: BinaryAnalysis, options: ProbeOptions, overlay: bool, kernel: str
) -> None:
    if kernel == "6.18.44" and not overlay and options.probe_kind is ProbeKind.COMMAND:
        with pytest.raises(UnsupportedError):
            choose_for_kernel(nops, options, overlay_works=overlay, kernel=kernel, arch="x86_64")
        return
    plan = choose_for_kernel(nops, options, overlay_works=overlay, kernel=kernel, arch="x86_64")
    assert kernel == "6.1.0" or not any(instruction.is_nop5 for instruction in plan.instructions)
    if kernel == "6.18.44" and not overlay:
        assert plan.probe_kind is ProbeKind.SYSCALL
        assert "5-byte nop" in plan.verdict.why


def test_cheapest_instruction_is_not_a_nop5(nops: BinaryAnalysis) -> None:
    for function in nops.functions:
        assert function.entry.is_nop5
        assert not function.cheapest.is_nop5


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ("uprobe:${exe}:${point:do_item_get}", False),
        ("uretprobe:${exe}:${return:do_item_get}", False),
        ("uprobe:${exe}:conn_new", True),
        ("uprobe:/usr/bin/memcached:0x1234", True),
        ("usdt:${exe}:assoc__find", True),
        ("tracepoint:syscalls:sys_enter_read", False),
    ],
)
def test_has_own_attach_points_finds_foreign_probes(
    probe: str, expected: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("script") / "own.bt"
    path.write_text(
        f"/* COUNTS: @x */\n{probe} /${{pids}}/ {{ $key = arg0; $length = arg1; @x[${{key}}] = count(); }}\n"
    )
    assert has_own_attach_points(read_script(path)) is expected


@pytest.mark.parametrize("name", ["slow-commands.bt", "value-sizes.bt"])
def test_shipped_scripts_have_no_own_attach_points(name: str) -> None:
    assert not has_own_attach_points(read_script(REPOSITORY / "bpftrace" / name))
