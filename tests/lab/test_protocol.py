"""Commands are encoded as memcached documents them, and every wrong answer is an error."""

from __future__ import annotations

import io

import pytest

from fleettrace.lab.protocol import Command, ProtocolError, Reader


def reader(data: bytes) -> Reader:
    stream = io.BytesIO(data)
    return lambda: stream.readline().removesuffix(b"\r\n"), stream.read


def test_commands_are_encoded_as_documented() -> None:
    assert Command("get", (b"a", b"b")).encode() == b"get a b\r\n"
    assert Command("gat", (b"a", b"b")).encode() == b"gat 0 a b\r\n"
    assert Command("set", (b"a",), b"12").encode() == b"set a 0 0 2\r\n12\r\n"
    assert Command("ms", (b"a",), b"12").encode() == b"ms a 2\r\n12\r\n"
    assert Command("bget", (b"a b",)).encode() == b"\x80\x00\x00\x03" + bytes(7) + b"\x03" + bytes(12) + b"a b"


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("get", b"VALUE k 0 1\r\n1\r\nEND\r\n"),
        ("get", b"END\r\n"),
        ("set", b"STORED\r\n"),
        ("delete", b"NOT_FOUND\r\n"),
        ("incr", b"17\r\n"),
        ("mg", b"VA 1 kk\r\n1\r\n"),
        ("mg", b"EN\r\n"),
    ],
)
def test_expected_answer_is_accepted(verb: str, answer: bytes) -> None:
    Command(verb, (b"k",)).check(reader(answer))


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("get", b"VALUE other 0 1\r\n1\r\nEND\r\n"),
        ("get", b"ERROR\r\n"),
        ("set", b"SERVER_ERROR out of memory storing object\r\n"),
        ("delete", b"STORED\r\n"),
        ("touch", b"CLIENT_ERROR bad command line format\r\n"),
        ("mg", b"VA 1 kother\r\n1\r\n"),
        ("bget", b"\x81\x00\x00\x00\x00\x00\x00\x81" + bytes(16)),
    ],
)
def test_unexpected_answer_is_an_error(verb: str, answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        Command(verb, (b"k",)).check(reader(answer))


@pytest.mark.parametrize(
    ("verb", "keys"), [("set", (b"a", b"b")), ("get", ()), ("get", (b"a b",)), ("get", (b"k" * 251,))]
)
def test_command_that_cannot_be_encoded_is_refused(verb: str, keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="key"):
        Command(verb, keys)
