"""The clients of keys and hosts in every format."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from fleettrace.report.build import build_report
from fleettrace.report.formats import Output
from fleettrace.report.html import render_html
from fleettrace.report.interface import FormatOptions
from fleettrace.report.json_format import to_json
from fleettrace.report.redact import Redact, redact
from fleettrace.summary.host_clients import HostClients
from fleettrace.summary.key import Key
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, new_run, small

SECRET = b"0123456789abcdef"
PROXY, ONE, OTHER = "10.0.0.1", "10.0.0.5", "2001:db8::7"


def asked(clients: dict[str, int], keys: dict[bytes, dict[str, int]], *, requests: int) -> HostClients:
    return HostClients(
        requests, sum(clients.values()), clients, {Key.whole(key): of_key for key, of_key in keys.items()}
    )


@pytest.fixture
def run() -> RunResult:
    """Of 2000 requests for `a`, 40 come from unknown clients; a proxy makes nearly all requests of the second host."""
    result = small()
    result.hosts[0].clients = asked({ONE: 1000, OTHER: 480}, {b"a": {ONE: 900, OTHER: 80}}, requests=1500)
    result.hosts[1].clients = asked({PROXY: 1190}, {b"a": {PROXY: 900, OTHER: 80}}, requests=1200)
    return result


def text(run: RunResult, output: Output) -> str:
    out = io.StringIO(newline="")
    output.formatter(FormatOptions()).write(build_report(run), out)
    return out.getvalue()


def test_clients_of_key_are_added_over_hosts(run: RunResult) -> None:
    report = to_json(build_report(run))
    [key] = [key for key in report["keys"] if key["key"] == "a"]
    assert [(row["client"], row["requests"]) for row in key["clients"]] == [(PROXY, 900), (ONE, 900), (OTHER, 160)]
    assert (key["clients_unknown"], key["clients"][0]["share"]) == (40, 0.45)


def test_unknown_requests_of_hosts_are_counted(run: RunResult) -> None:
    first, second = to_json(build_report(run))["hosts"]
    assert (first["clients_unknown"], second["clients_unknown"]) == (20, 10)


def test_key_without_clients_is_unknown(run: RunResult) -> None:
    [key] = [key for key in to_json(build_report(run))["keys"] if key["key"] == "b"]
    assert (key["clients"], key["clients_unknown"]) == ([], 500)


def test_without_clients_nothing_changes() -> None:
    report = to_json(build_report(small()))
    assert {row["clients"] for row in (*report["keys"], *report["hosts"])} == {None}
    assert "asked by" not in text(small(), Output.TABLE)


@pytest.mark.parametrize("output", [Output.TABLE, Output.MARKDOWN])
def test_client_with_nearly_all_resembles_proxy(run: RunResult, output: Output) -> None:
    lines = text(run, output).splitlines()
    assert [line.split()[line.startswith("|")].strip("`") for line in lines if "perhaps a proxy or NAT" in line] == [
        "cache-002"
    ]


def test_csv_has_first_client(run: RunResult) -> None:
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text(run, Output.CSV)))}
    assert (rows["a"]["top_client"], rows["a"]["top_client_requests"], rows["a"]["clients_unknown"]) == (
        PROXY,
        "900",
        "40",
    )
    assert rows["cache-002"]["top_client"] == PROXY


def test_page_holds_clients(run: RunResult) -> None:
    page = render_html(to_json(build_report(run)))
    assert json.dumps([PROXY, 900, 0.45], separators=(",", ":")) in page


def test_hostile_keys_with_clients_stay_inert() -> None:
    run = new_run()
    add_host(run, "cache-001", {key: count([10]) for key in HOSTILE})
    run.hosts[0].clients = asked({ONE: 200}, {key: {ONE: 10} for key in HOSTILE}, requests=200)
    for output in (Output.TABLE, Output.MARKDOWN):
        assert not any(char in text(run, output) for char in "\x1b\u202e\u200b\x9b")
    of_keys, of_clients = text(run, Output.MARKDOWN).split("| key | asked by |")
    of_clients = of_clients.partition("| host | asked by |")[0]
    names = [line.partition(" | 10.0.0.5 ")[0] for line in of_clients.splitlines() if " | 10.0.0.5 " in line]
    assert len(names) == len(HOSTILE)
    assert all(f"{name} | 10 |" in of_keys for name in names if "first" not in name)


@pytest.mark.parametrize("output", Output)
@pytest.mark.parametrize("how", Redact)
def test_redaction_hides_addresses(run: RunResult, how: Redact, output: Output) -> None:
    shown = text(redact(run, how, SECRET), output)
    assert not any(address in shown for address in (PROXY, ONE, OTHER))


def test_dropped_keys_drop_clients(run: RunResult) -> None:
    assert [host.clients for host in redact(run, Redact.DROP, SECRET).hosts] == [None, None]


def test_pseudonyms_of_clients_still_add_up(run: RunResult) -> None:
    hidden = to_json(build_report(redact(run, Redact.HASH, SECRET)))
    assert sorted(row["requests"] for row in hidden["keys"][0]["clients"]) == [160, 900, 900]


def test_result_of_host_is_bounded() -> None:
    clients = {f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}": 1 + n for n in range(5000)}
    keys = {b"key:%d" % n: dict.fromkeys(list(clients)[:50], 1) for n in range(100)}
    whole = asked(clients, keys, requests=sum(clients.values()))
    bounded = whole.bounded([Key.whole(key) for key in keys])
    assert (len(bounded.clients), sum(map(len, bounded.keys.values()))) == (100, 2000)
    assert (bounded.requests, bounded.known) == (whole.requests, whole.known)
    assert replace(bounded).clients == dict(sorted(clients.items(), key=lambda row: -row[1])[:100])
