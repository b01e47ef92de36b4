"""Keys of any bytes: exact in JSON, escaped on a terminal."""

from __future__ import annotations

import base64
import re
import socket
import unicodedata
from pathlib import Path

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.profile import HOSTILE_ASCII, HOSTILE_BINARY
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.truth import TracedInstance
from tests.e2e.command import Command, on_lab
from tests.e2e.conftest import BigSweep
from tests.e2e.fleet import key_of
from tests.e2e.local import ADDRESS, served

pytestmark = pytest.mark.lab

CUT = [key for key in HOSTILE_BINARY if b"\0" in key and len(key) > 72]
WHOLE = [key for key in HOSTILE_ASCII + HOSTILE_BINARY if key not in CUT]
CONTROLS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} - {"\r", "\n"}
STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("key", WHOLE)
def test_hostile_key_is_counted_exactly(big_sweep: BigSweep, key: bytes) -> None:
    [row] = [row for row in big_sweep.done.report["keys"] if key_of(row) == key]
    assert row["requests"] == big_sweep.truth.by_key()[key] > 0
    assert (row["truncated"], row["length"]) == (False, len(key))


def test_json_key_is_safe_to_print(big_sweep: BigSweep) -> None:
    for row in big_sweep.done.report["keys"]:
        assert not CONTROLS & set(row["key"])
        assert "\n" not in row["key"]
        assert (row["key_base64"] is None) == (row["key"].encode() == key_of(row))


@pytest.mark.parametrize("key", CUT)
def test_long_key_with_nul_is_truncated_and_uncertified(big_sweep: BigSweep, key: bytes) -> None:
    [row] = [row for row in big_sweep.done.report["keys"] if row["truncated"]]
    assert key_of(row) == key.partition(b"\0")[0]
    assert row["length"] == len(key)
    assert row["requests"] == big_sweep.truth.by_key()[key]
    assert not row["certified"]


def test_nul_keys_of_mixed_kind_are_counted(tmp_path: Path) -> None:
    key = b"\0\0\0\1id"
    request = b"me " + base64.b64encode(key) + b" b\r\n"
    with served(tmp_path, DEBIAN) as server:
        arguments = ["run", "-i", str(server.inventory), "--duration", "4s", "--output", "json", "-v"]
        with Command(arguments) as command:
            command.wait_for_trace("here")
            server.send([Request("get", (b"normal",))] * 400, 400)
            with socket.create_connection((ADDRESS, server.port), timeout=10) as client:
                client.sendall(100 * request + b"mn\r\n")
                answer = b""
                while b"MN\r\n" not in answer:
                    answer += client.recv(65536)
            done = command.finish()
    assert (done.host("here")["state"], done.status) == ("ok", 0)
    assert [(key_of(row), row["requests"]) for row in done.report["keys"]] == [(b"normal", 400), (key, 100)]


@pytest.mark.parametrize("options", [(), ("--no-color",)])
def test_keys_are_escaped_on_the_terminal(lab: Lab, options: tuple[str, ...]) -> None:
    instance = TracedInstance("plain", 11211)
    requests = [Request("bget", (key,)) for key in HOSTILE_ASCII + HOSTILE_BINARY]
    arguments = on_lab(lab, "--hosts", "plain", "--duration", "3s", "--top", "100", "-v", *options)
    with Command(["run", *arguments], terminal=True, variables={"TERM": "xterm-256color", "COLUMNS": "200"}) as command:
        command.wait_for_trace("plain")
        lab.send({instance: requests})
        done = command.finish()
    text = done.out.decode("utf-8")
    assert done.status == 0
    shown = STYLE.sub("", text)
    assert not CONTROLS & set(shown), sorted(CONTROLS & set(shown))
    assert not any(unicodedata.category(char) == "Cf" for char in shown)
    assert "\x1b[31mred" not in text
    assert "[bold]red[/bold]" in shown
    assert "]: 7" in shown
    if options:
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", text)
