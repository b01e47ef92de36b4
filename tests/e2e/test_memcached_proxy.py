"""A memcached in proxy mode is traced where it reads requests, and its own counters never show it as idle."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from fleettrace.lab.build import memcached_binary
from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command as Request
from tests.e2e.command import Command
from tests.e2e.fleet import keys_of
from tests.e2e.local import Served, served
from tests.e2e.test_blind_trace import SAMPLED_S, listens

pytestmark = pytest.mark.lab

ROUTES = """\
function mcp_config_pools()
    return mcp.pool({{ mcp.backend("one", "127.0.0.1", {port}) }})
end
function mcp_config_routes(pool)
    mcp.attach(mcp.CMD_ANY_STORAGE, function(request) return pool(request) end)
end
"""
REQUESTS = [Request("set", (b"a",))] * 23 + [Request("get", (b"a",))] * 101 + [Request("delete", (b"b",))] * 7


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory, behind = tmp_path_factory.mktemp("proxy"), tmp_path_factory.mktemp("server")
    with served(behind, DEBIAN) as server:
        routes = directory / "routes.lua"
        routes.write_text(ROUTES.format(port=server.port))
        options = ["-u", "root", "-o", f"proxy_config={routes}"]
        with served(directory, memcached_binary("proxy"), *options, ready=listens) as running:
            yield running


def test_proxy_requests_are_counted_where_read(proxy: Served) -> None:
    done, truth = proxy.trace(REQUESTS, at_once=1, seconds=5)
    host = done.host("here")
    assert (host["state"], host["requests"], done.status) == ("ok", truth.total("here"), 0)
    assert keys_of(done.report["keys"]) == truth.by_key()
    probe = host["instances"][0]["probe"]
    assert (probe["kind"], probe["exact"]) == ("syscall", False)
    assert "proxy" in probe["why"]


def test_proxy_counters_are_no_coverage(proxy: Served) -> None:
    done, _ = proxy.trace([])
    assert done.report["totals"]["coverage"] is None
    assert done.report["totals"]["coverage_unknown"] == ["here"]
    assert done.report["totals"]["certified"] == 0


def test_item_probe_on_a_proxy_is_blind(proxy: Served) -> None:
    arguments = ["run", "-i", str(proxy.inventory), "--duration", "6s", "--probe", "item", "--output", "json", "-v"]
    with Command(arguments) as command:
        command.wait_for_trace("here")
        time.sleep(SAMPLED_S)
        proxy.send([Request("get", (b"k" * 250,))] * 503, 100)
        done = command.finish()
    assert (done.host("here")["state"], done.host("here")["error"]["code"], done.status) == ("trace-failed", "blind", 4)
