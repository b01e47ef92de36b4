"""What is in the way of a trace on a node is found, with its cure: in this machine's namespaces, else as facts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.errors import HostError
from fleettrace.node.discovery import discovery_script, parse_discovery, preemption
from fleettrace.node.model import Bpftrace, Discovery, NodeFacts
from fleettrace.node.planning import check_able, check_empty
from fleettrace.node.trace_obstacles import obstacles, unfound
from tests.node.ran import ran

OLD, NEW = Bpftrace(0, 17, 0), Bpftrace(0, 27, 1)
FULL = (1 << 41) - 1
ADMIN, PERFMON, BPF, PTRACE = 1 << 21, 1 << 38, 1 << 39, 1 << 19
ABLE = NodeFacts(
    kernel="6.1.0-41-amd64",
    arch="x86_64",
    uid=0,
    bpftrace=OLD,
    bpftrace_output="",
    lockdown="none",
    tracefs=True,
    unshare=True,
    capabilities=FULL,
    perf_event_paranoid=3,
    preemption="voluntary",
)


def codes(facts: NodeFacts) -> dict[str, bool]:
    """The obstacles' codes, and whether each is fatal."""
    return {obstacle.code: obstacle.fatal for obstacle in obstacles(facts)}


def test_a_stock_node_has_no_obstacle() -> None:
    assert codes(ABLE) == {}
    assert codes(replace(ABLE, lockdown="integrity", btf=False)) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"btf": False, "headers": False}, {"no-kernel-types": False}),
        ({"btf": False, "headers": False, "bpftrace": NEW}, {}),
        ({"dev_fd": False}, {}),
        ({"dev_fd": False, "bpftrace": NEW}, {"no-dev-fd": True}),
        ({"dev_fd": False, "bpftrace": NEW, "direct_bpftrace": False}, {"no-dev-fd": False}),
        ({"tracefs": False}, {}),
        ({"tracefs": False, "unshare": False}, {"no-tracefs": False}),
        ({"tracefs": False, "tracefs_mountable": False, "bpftrace": NEW}, {"no-tracefs": True}),
        ({"capabilities": FULL & ~(PERFMON | BPF)}, {}),
        ({"capabilities": FULL & ~ADMIN}, {"no-capability": False}),
        ({"capabilities": FULL & ~ADMIN, "kernel": "6.18.1"}, {"no-capability": True}),
        ({"capabilities": FULL & ~(ADMIN | PERFMON)}, {"no-capability": True}),
        ({"capabilities": FULL & ~ADMIN, "kernel": "5.4.0-1-x"}, {"no-capability": True}),
        ({"capabilities": FULL & ~PTRACE, "hidepid": "2"}, {"processes-hidden": False}),
        ({"kernel": "6.13.0", "preemption": "lazy"}, {"preemptible-kernel": True}),
        ({"kernel": "7.3.0", "preemption": "rt"}, {"preemptible-kernel": True}),
        ({"kernel": "6.12.0-rt", "preemption": "rt"}, {"preemptible-kernel": False}),
        ({"kernel": "6.12.0", "preemption": "full"}, {"preemptible-kernel": False}),
        ({"kernel": "6.16.3", "preemption": "none"}, {}),
        ({"kernel": "6.16.3", "preemption": ""}, {"preemption-unknown": True}),
    ],
)
def test_each_obstacle_is_found(change: dict[str, object], expected: dict[str, bool]) -> None:
    facts = replace(ABLE, **change)  # type: ignore[arg-type]
    assert codes(facts) == expected


def test_perf_event_paranoid_is_named_where_it_applies() -> None:
    [bound] = obstacles(replace(ABLE, capabilities=FULL & ~(ADMIN | PERFMON)))
    [free] = obstacles(replace(ABLE, capabilities=FULL & ~ADMIN))
    assert "perf_event_paranoid is 3" in bound.message
    assert "perf_event_paranoid" not in free.message


def test_a_fatal_obstacle_is_the_hosts_error() -> None:
    with pytest.raises(HostError) as caught:
        check_able(Discovery(replace(ABLE, dev_fd=False, bpftrace=NEW), ()))
    assert (caught.value.state.value, caught.value.code) == ("unsupported", "no-dev-fd")


@pytest.mark.parametrize(("kernel", "model"), [("6.13.0", "full"), ("7.3.4+deb13-amd64", "lazy"), ("6.16.3", "rt")])
def test_preemptible_kernel_is_refused_unless_allowed(kernel: str, model: str) -> None:
    found = Discovery(replace(ABLE, kernel=kernel, preemption=model), ())
    with pytest.raises(HostError) as caught:
        check_able(found)
    assert (caught.value.state.value, caught.value.code) == ("unsupported", "preemptible-kernel")
    check_able(found, preemptible=True)


@pytest.mark.parametrize(("kernel", "model"), [("6.12.0", "full"), ("6.12.0-rt", "rt"), ("6.16.3", "voluntary")])
def test_other_kernels_are_not_refused(kernel: str, model: str) -> None:
    check_able(Discovery(replace(ABLE, kernel=kernel, preemption=model), ()))


@pytest.mark.parametrize(
    ("change", "code"), [({"capabilities": FULL & ~PTRACE}, "processes-hidden"), ({"uid": 1000}, "not-root")]
)
def test_no_memcached_seen_needs_sight_of_every_process(change: dict[str, int], code: str) -> None:
    check_empty(ABLE)
    with pytest.raises(HostError) as caught:
        check_empty(replace(ABLE, **change))  # type: ignore[arg-type]
    assert caught.value.code == code


DYNAMIC = b"#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1 (2025-11-05)"


@pytest.mark.parametrize(
    ("version", "debugfs", "boot", "built", "model"),
    [
        (b"#1 SMP Debian 5.10.237-1 (2025-05-19)", b"", b"", b"", "none"),
        (b"#1 SMP PREEMPT_RT Debian 6.12.57-1 (2025-11-05)", b"", b"", b"", "rt"),
        (b"#1 SMP PREEMPT Thu, 01 Jul 2021 07:26:06 +0000", b"", b"", b"", "full"),
        (DYNAMIC, b"none (voluntary) full\n", b"", b"", "voluntary"),
        (DYNAMIC, b"none voluntary full (lazy)\n", b"full", b"", "lazy"),
        (DYNAMIC, b"", b"full", b"", "full"),
        (
            DYNAMIC,
            b"",
            b"",
            b"CONFIG_PREEMPT_BUILD=y\nCONFIG_PREEMPT_VOLUNTARY=y\nCONFIG_PREEMPT_DYNAMIC=y",
            "voluntary",
        ),
        (DYNAMIC, b"", b"", b"CONFIG_PREEMPT_BUILD=y\nCONFIG_PREEMPT=y\nCONFIG_PREEMPTION=y\n", "full"),
        (DYNAMIC, b"", b"odd", b"", ""),
        (DYNAMIC, b"", b"", b"", ""),
    ],
)
def test_the_preemption_model_is_read_where_it_stands(
    version: bytes, debugfs: bytes, boot: bytes, built: bytes, model: str
) -> None:
    assert preemption(version, debugfs, boot, built) == model


def seen(*around: str, before: str = "", bpftrace: str = "bpftrace") -> NodeFacts:
    """This machine's facts, found from within `around` after `before` was done to its mounts."""
    script = discovery_script([bpftrace], "netns")
    words = ["unshare", "-m", *around, "sh", "-c", f'mount --make-rprivate /\n{before}\nexec sh "$@"', "sh"]
    return parse_discovery(ran(words, script).stdout).facts


@pytest.mark.lab
class TestReal:
    """Namespaces and capabilities of this machine."""

    def test_a_dev_without_fd(self) -> None:
        assert seen().dev_fd
        bare = "d=$(mktemp -d); mount -t tmpfs t $d; cp -a /dev/null $d; mount --move $d /dev; rmdir $d"
        assert not seen(before=bare).dev_fd

    def test_a_sys_without_tracefs_and_btf(self) -> None:
        facts = seen(before="mount -t tmpfs t /sys/kernel")
        assert (facts.tracefs, facts.tracefs_mountable, facts.btf) == (False, True, False)

    def test_a_file_system_without_kernel_headers(self) -> None:
        hide = "for d in /usr/include /lib/modules /sys/kernel; do [ ! -d $d ] || mount -t tmpfs t $d; done"
        assert not seen(before=hide).headers
        assert seen(before=f"{hide}; mkdir -p /usr/include/linux; : >/usr/include/linux/types.h").headers

    def test_a_root_without_capabilities(self) -> None:
        all_of_them = seen().capabilities
        assert all_of_them is not None
        drop = "-sys_admin,-perfmon"
        facts = seen(before=f'exec setpriv --bounding-set {drop} --inh-caps {drop} sh "$@"', bpftrace="true")
        assert facts.capabilities == all_of_them & ~(ADMIN | PERFMON)
        assert facts.unshare is False

    def test_a_proc_that_hides_processes(self) -> None:
        hide = 'mount -t proc -o hidepid=2 proc /proc; exec setpriv --bounding-set -sys_ptrace sh "$@"'
        facts = seen("-p", "-f", before=hide, bpftrace="true")
        assert facts.hidepid in ("2", "invisible")
        assert "processes-hidden" in codes(facts)

    def test_direct_bpftrace_is_false_for_a_wrapper(self, tmp_path: Path) -> None:
        real = shutil.which("bpftrace")
        assert real is not None
        wrapper = tmp_path / "bpftrace"
        wrapper.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
        wrapper.chmod(0o755)
        assert seen(bpftrace=real).direct_bpftrace
        assert not seen(bpftrace=str(wrapper)).direct_bpftrace
        assert not seen(bpftrace="/no/such/bpftrace").direct_bpftrace


@pytest.mark.parametrize(
    ("listening", "loaded", "selected", "found", "code"),
    [
        ({22, 11211}, (), (11211,), {11211}, None),
        ({22, 11211}, (), (11211,), set(), "port-without-memcached"),
        ({22, 11211}, (), (11211, 11212), {11211}, None),
        ({22, 11211}, (), (), set(), None),
        ({22, 11211}, (7,), (11211,), set(), "port-without-memcached"),
        ({22, 11211, 11212}, (7,), (11211,), {11211}, None),
        ({22, 11211}, (7,), (), {11212}, "memcached-by-loader"),
    ],
)
def test_listening_selected_port_must_belong_to_memcached(
    listening: set[int], loaded: tuple[int, ...], selected: tuple[int, ...], found: set[int], code: str | None
) -> None:
    error = unfound(replace(ABLE, listening=frozenset(listening), loaded=loaded), selected, found)
    assert (error and error.code) == code
    assert error is None or "11212" not in error.message
