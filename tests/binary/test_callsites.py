"""The operations of call sites, compared with the requests that a client sent."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.binary.callsites import Operation, call_sites
from fleettrace.binary.elf import parse
from fleettrace.binary.functions import read_functions
from fleettrace.binary.references import References
from fleettrace.binary.symbols import function_symbols, named
from tests.binary.builds import BUILDS, CI_BUILDS, build, installed, stripped
from tests.binary.trace import operations, trace
from tests.binary.traffic import COMMANDS, memcached

REFUSED = 5
TOO_LARGE = "x" * 2_000_000
"""A value too large for memcached to store."""


@pytest.mark.parametrize("name", CI_BUILDS)
def test_stripped_binary_has_the_same_call_sites(name: str) -> None:
    unstripped, bare = (analyse(path.read_bytes()).call_sites for path in (build(name), stripped(name)))
    assert [(s.return_address, s.operation, s.fetch) for s in unstripped] == [
        (s.return_address, s.operation, s.fetch) for s in bare
    ]


@pytest.mark.parametrize("name", CI_BUILDS)
def test_every_operation_has_a_call_site(name: str) -> None:
    found = analyse(stripped(name).read_bytes()).call_sites
    known = {each.operation for each in found} | {each.fetch for each in found}
    assert set(Operation) - {Operation.OTHER} <= known


@pytest.mark.parametrize(("flag", "expected"), [("", None), (", 1", None), (", update", Operation.GET)])
def test_fetch_requires_a_do_update_argument(tmp_path: Path, flag: str, expected: Operation | None) -> None:
    """item_get of 1.4.15 to 1.4.34 passes no do_update to do_item_get, and the register holds anything."""
    source = tmp_path / "get.c"
    source.write_text(f"""
        #include <stddef.h>
        __attribute__((noipa)) long hash(const char *key, size_t n) {{ return key[n]; }}
        __attribute__((noipa)) void *do_item_get(const char *key, size_t n, int hv, void *c{flag and ", int update"})
        {{ return key[n] + hv ? c : 0; }}
        __attribute__((noipa)) void *item_get(const char *key, size_t n, void *c, int update)
        {{
            void *it = do_item_get(key, n, hash(key, n), c{flag});
            hash(key, n);
            return it;
        }}
        int main(int argc, char **argv) {{ return item_get(argv[0], argc, argv, argc) != 0; }}
    """)
    subprocess.run(["gcc", "-O2", "-o", tmp_path / "get", source], check=True)
    elf = parse((tmp_path / "get").read_bytes())
    symbols = function_symbols(elf)
    functions = read_functions(elf, symbols)
    target = functions.starting(named(symbols, "do_item_get")[0].address)
    assert target is not None
    [found] = call_sites(References(elf, functions), target)
    assert (found.operation, found.fetch) == (None, expected)


def counted(binary: Path) -> tuple[Counter[str], Counter[str]]:
    """Send every command in every protocol, with hits, misses and refusals; return the sent and the counted requests.

    Each command is sent a different number of times.
    """
    analysis = analyse(binary.read_bytes())
    function = analysis.function("do_item_get")
    assert function is not None
    truth: Counter[str] = Counter()
    with memcached(binary) as (pid, connect):
        text, packets = connect(), connect()
        with trace(pid, analysis, function.cheapest) as traced:
            for index, (name, (operation, requests, send)) in enumerate(COMMANDS.items()):
                for key in (f"found-{name}", f"lost-{name}"):
                    for _ in range(3 + index):
                        if key.startswith("found"):
                            text.ascii(f"set {key} 0 0 2\r\n10")
                            truth["set"] += 1
                        send(packets if name.startswith("bin") else text, key)
                        truth[operation] += requests
            for _ in range(REFUSED):
                text.ascii(f"set refused 0 0 {len(TOO_LARGE)}\r\n{TOO_LARGE}")
                packets.binary(0x01, b"refused", b"\0" * 8, TOO_LARGE.encode())
    truth["set"] += 2 * REFUSED
    counts = operations(analysis, traced.calls)
    assert counts.total() == truth.total(), traced.errors
    return truth, counts


@pytest.mark.lab
@pytest.mark.parametrize("which", ["plain", "cf-protection", "lto", "distribution"])
def test_real_requests_are_counted_by_operation(which: str) -> None:
    binary = installed() if which == "distribution" else stripped(which)
    if binary is None:
        pytest.skip("the distribution's memcached is not installed")
    truth, counts = counted(binary)
    # `me`, and the look-up of a refused store.
    assert counts.pop("unknown") == truth.pop("other") + 2 * REFUSED
    assert counts == truth - Counter(set=2 * REFUSED)


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.parametrize("which", BUILDS)
@pytest.mark.parametrize("symbols", [True, False])
def test_operation_is_never_wrong(which: str, symbols: bool) -> None:
    truth, counts = counted(build(which) if symbols else stripped(which))
    counts.pop("unknown")
    assert counts <= truth
