"""Keys of any bytes: exact in JSON, escaped on a terminal."""

from __future__ import annotations

import re
import unicodedata

import pytest

from fleettrace.lab.fleet import Lab
from fleettrace.lab.profile import HOSTILE_ASCII, HOSTILE_BINARY
from fleettrace.lab.protocol import Command as Request
from fleettrace.lab.truth import TracedInstance
from tests.e2e.command import Command, on_lab
from tests.e2e.conftest import BigSweep
from tests.e2e.fleet import key_of

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
