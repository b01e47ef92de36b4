"""The answer of `who`: clients with their shares and hosts, as JSON and as text that is safe to show."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from fleettrace.errors import HostState
from fleettrace.report.who import clients_of, renamed, who_json, who_lines
from fleettrace.summary.clients import ClientKey
from fleettrace.summary.run import HostResult, RunInfo, RunResult

INFO = RunInfo("id", datetime.now(UTC), "all", 10.0, "1")


def host(name: str, *counts: tuple[int, str | None, int]) -> HostResult:
    top = [(ClientKey(number, client == "*", client).key(), requests) for number, client, requests in counts]
    return HostResult(name, HostState.OK, top=top)


RESULT = RunResult(
    INFO,
    [
        host("c1", (1, "*", 60), (1, "10.0.0.1", 40), (1, "10.0.0.2", 15), (1, None, 5), (2, "*", 2), (2, "unix", 2)),
        host("c2", (1, "*", 40), (1, "10.0.0.2", 30), (1, "10.0.0.3", 10)),
    ],
)
KEYS = [b"user:1", b"\xff\n"]


def test_clients_are_folded_over_hosts() -> None:
    first, second = clients_of(RESULT, KEYS)
    assert (first.requests, first.unknown) == (100, 5)
    assert [(row.client, row.requests, row.hosts) for row in first.clients] == [
        ("10.0.0.2", 45, ("c1", "c2")),
        ("10.0.0.1", 40, ("c1",)),
        ("10.0.0.3", 10, ("c2",)),
    ]
    assert (second.requests, second.unknown, len(second.clients)) == (2, 0, 1)


def test_clients_left_out_are_unknown() -> None:
    [asked] = clients_of(RunResult(INFO, [host("c1", (1, "*", 60), (1, "10.0.0.1", 40))]), [b"k"])
    assert (asked.requests, asked.unknown) == (60, 20)


def test_json_has_exactly_the_contract() -> None:
    document = json.loads(who_json(clients_of(RESULT, KEYS)))
    assert document["schema"] == "fleettrace/who/1"
    assert [list(key) for key in document["keys"]] == [["key", "key_base64", "requests", "unknown", "clients"]] * 2
    assert document["keys"][0]["clients"][0] == {
        "client": "10.0.0.2", "requests": 45, "share": 0.45, "hosts": ["c1", "c2"]
    }  # fmt: skip
    assert (document["keys"][1]["key"], document["keys"][1]["key_base64"]) == ("\\xff\\n", "/wo=")


def test_names_of_one_client_are_added() -> None:
    asked = renamed(clients_of(RESULT, KEYS)[0], {"10.0.0.1": "web", "10.0.0.3": "web"})
    assert [(row.client, row.requests, row.hosts) for row in asked.clients] == [
        ("web", 50, ("c1", "c2")),
        ("10.0.0.2", 45, ("c1", "c2")),
    ]


def test_text_shows_the_rest_and_the_unknown() -> None:
    assert list(who_lines(clients_of(RESULT, KEYS)[:1], top=1)) == [
        "user:1  100 requests, 3 clients",
        "  10.0.0.2         45   45.0%  c[1-2]",
        "  2 other clients  50   50.0%",
        "  unknown           5    5.0%",
    ]


def test_nearly_one_client_resembles_a_proxy() -> None:
    [asked] = clients_of(RunResult(INFO, [host("c1", (1, "*", 10), (1, "10.0.0.1", 9), (1, None, 1))]), [b"k"])
    assert list(who_lines([asked], top=5))[-1].startswith("  10.0.0.1 makes 90.0% of the requests for k: ")
    assert [asked.remark for asked in clients_of(RESULT, KEYS)] == [None, None], "several clients; a Unix socket"


def test_hostile_names_are_harmless() -> None:
    asked = renamed(clients_of(RESULT, KEYS)[0], {"10.0.0.1": "web\x1b[2J\nroot"})
    assert all(line.isprintable() for line in who_lines([asked], top=9))
    assert "\\u001b" not in who_json([asked])
    assert json.loads(who_json([asked]))["keys"][0]["clients"][1]["client"].isprintable()


def test_key_without_requests_has_no_clients() -> None:
    answers = clients_of(RunResult(INFO, [host("c1")]), [b"k"])
    assert list(who_lines(answers, top=5)) == ["k  0 requests, 0 clients"]
