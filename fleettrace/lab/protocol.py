"""The part of memcached's three protocols that the load generator needs: encode commands, check answers.

An error or an unexpected answer raises `ProtocolError`, so that no request is counted that memcached did not carry out.
Formats: memcached's doc/protocol.txt, also for meta commands; for the binary protocol the wiki's
BinaryProtocolRevamped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from fleettrace.errors import FleettraceError
from fleettrace.lab.truth import OP_OF_VERB, Verb

__all__ = ["MAX_KEY", "Command", "ProtocolError", "Reader"]

MAX_KEY = 250  # KEY_MAX_LENGTH in memcached.h
Reader = tuple[Callable[[], bytes], Callable[[int], bytes]]
"""Two functions: one reads a line (without its CRLF), one reads exactly n bytes."""

BINARY = {
    "bget": 0x00,
    "bset": 0x01,
    "bdelete": 0x04,
    "bincr": 0x05,
    "bgetk": 0x0C,
    "btouch": 0x1C,
}  # protocol_binary.h
BINARY_ANSWERS = {0x0000, 0x0001, 0x0005, 0x0006}  # success, key not found, not stored, non-numeric value
REQUEST, ANSWER = 0x80, 0x81
HEADER = struct.Struct("!BBHBBHIIQ")
NO_CREATION = 0xFFFFFFFF  # an expiry that makes a binary incr fail on an absent key
STORED = (b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND")
META = (b"HD", b"EN", b"NF", b"NS", b"EX")
# memcached looked the key up, so this is a counted request, although its value is not a number.
NON_NUMERIC = b"CLIENT_ERROR cannot increment or decrement non-numeric value"


class ProtocolError(FleettraceError):
    """memcached sent an answer that does not belong to the command."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command with one key or (get, gets, gat, gats) several. Raises `ValueError` if it cannot be encoded."""

    verb: Verb
    keys: tuple[bytes, ...]
    value: bytes = b"1"
    """Stored by set and its kin; added by incr and its kin."""

    def __post_init__(self) -> None:
        if self.verb not in OP_OF_VERB:
            raise ValueError(f"unknown command {self.verb!r}")
        many = self.verb in ("get", "gets", "gat", "gats")
        if not self.keys or (len(self.keys) > 1 and not many):
            raise ValueError(f"{self.verb} takes {'at least one key' if many else 'one key'}, not {len(self.keys)}")
        for key in self.keys:
            if not 1 <= len(key) <= MAX_KEY or (not self.binary and any(byte <= 0x20 or byte == 0x7F for byte in key)):
                raise ValueError(f"{self.verb} cannot carry the key {key!r}")

    @property
    def binary(self) -> bool:
        """Return whether the command belongs to the binary protocol."""
        return self.verb in BINARY

    def encode(self) -> bytes:
        """Return the bytes to send."""
        if self.binary:
            return self._encode_binary()
        verb, key, value = self.verb.encode(), b" ".join(self.keys), self.value
        size = str(len(value)).encode()
        match self.verb:
            case "get" | "gets" | "delete":
                line = b"%b %b" % (verb, key)
            case "gat" | "gats":
                line = b"%b 0 %b" % (verb, key)
            case "touch":
                line = b"touch %b 0" % key
            case "incr" | "decr":
                line = b"%b %b %b" % (verb, key, value)
            case "cas":
                line = b"cas %b 0 0 %b 1\r\n%b" % (key, size, value)
            case "ms":
                line = b"ms %b %b\r\n%b" % (key, size, value)
            case "mg":
                line = b"mg %b v k" % key
            case "md":
                line = b"md %b" % key
            case "ma":
                line = b"ma %b D%b" % (key, value)
            case _:
                line = b"%b %b 0 0 %b\r\n%b" % (verb, key, size, value)
        return line + b"\r\n"

    def _encode_binary(self) -> bytes:
        key, extras, body = self.keys[0], b"", b""
        match self.verb:
            case "bset":
                extras, body = struct.pack("!II", 0, 0), self.value
            case "bincr":
                extras = struct.pack("!QQI", int(self.value), 0, NO_CREATION)
            case "btouch":
                extras = struct.pack("!I", 0)
        size = len(extras) + len(key) + len(body)
        header = HEADER.pack(REQUEST, BINARY[self.verb], len(key), len(extras), 0, 0, size, 0, 0)
        return header + extras + key + body

    def check(self, reader: Reader) -> None:
        """Read this command's answer. Raises `ProtocolError` unless memcached carried the command out."""
        line, exactly = reader
        if self.binary:
            self._check_binary(exactly)
        elif self.verb in ("get", "gets", "gat", "gats"):
            self._check_values(line, exactly)
        elif self.verb in ("mg", "ms", "md", "ma"):
            self._check_meta(line(), exactly)
        else:
            self._check_line(line())

    def _check_values(self, line: Callable[[], bytes], exactly: Callable[[int], bytes]) -> None:
        requested = set(self.keys)
        while (words := line().split(b" ")) != [b"END"]:
            if words[0] != b"VALUE" or len(words) < 4 or words[1] not in requested:
                raise self._wrong(b" ".join(words))
            exactly(int(words[3]) + 2)

    def _check_meta(self, answer: bytes, exactly: Callable[[int], bytes]) -> None:
        words = answer.split(b" ")
        if words[0] == b"VA" and self.verb == "mg":
            if b"k" + self.keys[0] not in words:
                raise self._wrong(answer)
            exactly(int(words[1]) + 2)
        elif words[0] not in META and answer != NON_NUMERIC:
            raise self._wrong(answer)

    def _check_line(self, answer: bytes) -> None:
        match self.verb:
            case "delete":
                good = answer in (b"DELETED", b"NOT_FOUND")
            case "touch":
                good = answer in (b"TOUCHED", b"NOT_FOUND")
            case "incr" | "decr":
                good = answer.strip().isdigit() or answer in (b"NOT_FOUND", NON_NUMERIC)
            case _:
                good = answer in STORED
        if not good:
            raise self._wrong(answer)

    def _check_binary(self, exactly: Callable[[int], bytes]) -> None:
        magic, opcode, _, _, _, status, size, _, _ = HEADER.unpack(exactly(HEADER.size))
        body = exactly(size)
        if magic != ANSWER or opcode != BINARY[self.verb] or status not in BINARY_ANSWERS:
            raise self._wrong(b"status %d: %b" % (status, body))

    def _wrong(self, answer: bytes) -> ProtocolError:
        return ProtocolError(f"memcached answered {answer[:80]!r} to {self.verb} of {self.keys[0]!r}")
