"""Ask memcached about some keys with `me`, which shows an item without fetching it or moving it in its LRU."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from fleettrace.errors import HostError
from fleettrace.node.model import Endpoint, Instance
from fleettrace.node.records import Record, RecordReader
from fleettrace.node.scripts import script_text
from fleettrace.summary.items import NEVER, ItemFacts, ItemGap
from fleettrace.summary.key import Key
from fleettrace.transport.endpoint.port import MemcachedPort
from fleettrace.transport.interface import Connection, Limits, Stream

__all__ = ["Question", "ask_items", "ask_items_of_port", "facts_of", "gap_of"]

_LIMITS = Limits(seconds=5, max_bytes=1 << 22)
_HEADER = 48
"""Bytes of struct _stritem on 64-bit machines (memcached.h), without the CAS id."""
_CAS_ID = 8
_LINE_END = 2
"""memcached stores a value with its CR LF."""
_MOST_SIZE = 1 << 31
"""Bytes above the largest item (`-I 1g`)."""
_MOST_S = 1 << 33
_FACTS = re.compile(rb"exp=(-?\d{1,11}) la=(\d{1,11}) cas=(\d{1,20}) fetch=(yes|no) cls=(\d{1,3}) size=(\d{1,11})")
_ASKABLE = re.compile(rb"[\x21-\x7e\x80-\xff]{1,250}")
_HARMLESS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_./-")
_END = b"VERSION "
"""Begins the answer to `version`, which every version answers, and no other answer (1.5.22 answers `mn` with EN)."""
_VERSION = re.compile(rb"VERSION ")
_PORT_LINE = 512
"""Bytes of the longest line of an answer to `me`."""
_PORT_S = 3.0
_UNAUTHENTICATED = b"CLIENT_ERROR unauthenticated"


@dataclass(frozen=True, slots=True)
class Question:
    """The keys to ask one memcached process about. `endpoint` is None for one that answers on no port."""

    instance: Instance
    endpoint: Endpoint | None
    keys: tuple[Key, ...]


def ask_items(
    connection: Connection, netns: str, questions: Sequence[Question], *, fetch: bool = False
) -> dict[int, dict[Key, ItemFacts]]:
    """Return what each process reports about its keys, by pid. Raises nothing: what is unknown has a reason.

    `netns` is the network namespace of the session: of other ones, a process enters that of memcached. Without it, the
    namespace of every memcached is entered. With `fetch`, each value is fetched where memcached has no command `me`:
    its size is known then.
    """
    found = {
        one.instance.pid: dict.fromkeys(one.keys, ItemFacts(gap=ItemGap.PROXY))
        for one in questions
        if one.instance.proxy
    }
    open_ones = [one for one in questions if one.instance.pid not in found and one.keys]
    found.update(_asked(connection, netns, open_ones, "me"))
    if fetch:
        old = [one for one in open_ones if ItemGap.OLD in {facts.gap for facts in found[one.instance.pid].values()}]
        found.update(_asked(connection, netns, old, "get"))
    return found


def _asked(
    connection: Connection, netns: str, questions: Sequence[Question], how: str
) -> dict[int, dict[Key, ItemFacts]]:
    if not questions:
        return {}
    gaps: dict[int, ItemGap] = {}
    answers: dict[int, list[bytes]] = {}
    for record in _records(connection, _script(netns, questions, how)):
        pid, *lines = record.value.split(b"\n")
        number = int(pid) if pid.isdigit() and len(pid) < 10 else -1
        if record.tag == "arguments":
            gaps.setdefault(number, gap_of(lines))
        elif record.tag == "items":
            answers.setdefault(number, lines)
    # The command line explains only a silence.
    return {
        one.instance.pid: facts_of(one.keys, answers[one.instance.pid], gaps.get(one.instance.pid))
        if one.instance.pid in answers
        else dict.fromkeys(one.keys, ItemFacts(gap=gaps.get(one.instance.pid, ItemGap.NOT_ASKED)))
        for one in questions
    }


def _records(connection: Connection, script: str) -> list[Record]:
    """Return the complete records, also of a script that broke off: one process must not hide the answers of others."""
    reader, records = RecordReader(), []
    with suppress(HostError, ValueError):
        execution = connection.start(script.encode(), _LIMITS, keep_shell=True)
        try:
            for chunk in execution:
                if chunk.stream is Stream.OUT:
                    records += [one for one in reader.feed(chunk.data) if isinstance(one, Record)]
        finally:
            execution.close()
    return records


def _script(netns: str, questions: Sequence[Question], how: str) -> str:
    asked = []
    for one in questions:
        pid, endpoint = one.instance.pid, one.endpoint
        where = "-" if one.instance.netns in ("", netns) else str(pid)
        place = "- -" if endpoint is None else f"{endpoint.address} {endpoint.port}"
        request = _request(one.keys, how)
        asked.append(f"{pid} {where} {place} {_printf_format(request)} {request.hex()}")
    values = {
        "how": how,
        "asker": script_text("talk.sh", "items_ask.sh"),
        "asker_pl": script_text("items_ask.pl"),
        "asked": "\n".join(asked),
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()) + script_text("items.sh")


def _request(keys: Iterable[Key], how: str) -> bytes:
    return b"".join([*_lines(keys, how), b"version\r\nquit\r\n"])


def _lines(keys: Iterable[Key], how: str) -> list[bytes]:
    return [b"%b %b\r\n" % (how.encode(), key.data) for key in keys if _askable(key)]


def ask_items_of_port(port: MemcachedPort, keys: Sequence[Key]) -> dict[Key, ItemFacts]:
    """Return what the memcached behind a connection reports about some keys. Raises nothing, as `ask_items`."""
    lines = _lines(keys, "me")
    request, most = b"".join([*lines, b"version"]), _PORT_LINE * (len(lines) + 1)
    try:
        *answer, _ = port.ask(request, _VERSION, seconds=_PORT_S, most=most).splitlines()
    except HostError:
        return dict.fromkeys(keys, ItemFacts(gap=ItemGap.NO_ANSWER))
    return facts_of(keys, [*answer, _END], None)


def _printf_format(request: bytes) -> str:
    """Return the request as a format of printf(1) without a space."""
    return "".join(chr(byte) if byte in _HARMLESS else f"\\{byte:03o}" for byte in request)


def _askable(key: Key) -> bool:
    return not key.truncated and _ASKABLE.fullmatch(key.data) is not None


def gap_of(arguments: Sequence[bytes]) -> ItemGap:
    """Return why a process with these words of its command line does not answer on a port in the text protocol."""
    words = [word.decode("latin-1") for word in arguments[1:]]
    given = {word[1] for word in words if len(word) > 1 and word[0] == "-" and word[1] != "-"}
    names = {word.partition("=")[0] for word in words if word.startswith("--")}
    if "Z" in given or "--enable-ssl" in names:
        return ItemGap.TLS
    if "S" in given or "--enable-sasl" in names:
        return ItemGap.SASL
    if "Y" in given or "--auth-file" in names:
        return ItemGap.AUTH_FILE
    if any(word.startswith(("-Bbin", "--protocol=bin")) for word in words) or _follows(words, "-B", "bin"):
        return ItemGap.BINARY
    if "s" in given or "--unix-socket" in names:
        return ItemGap.UNIX
    return ItemGap.NO_ANSWER


def _follows(words: Sequence[str], option: str, start: str) -> bool:
    return any(first == option and second.startswith(start) for first, second in pairwise(words))


def facts_of(keys: Sequence[Key], answer: Sequence[bytes] | None, gap: ItemGap | None) -> dict[Key, ItemFacts]:
    """Return the facts of each key from the lines of an answer, which may be a lie. `gap` holds for all of them."""
    lines = [line.removesuffix(b"\r") for line in answer or () if line]
    if lines or gap is None:
        gap = _refusal(lines)
    if gap is not None:
        return dict.fromkeys(keys, ItemFacts(gap=gap))
    shown: dict[bytes, ItemFacts] = {}
    for line in lines:
        verb, _, rest = line.partition(b" ")
        key, _, text = rest.partition(b" ")
        facts = _facts(key, text) if verb == b"ME" else _fetched(text) if verb == b"GOT" else None
        if facts is not None:
            shown.setdefault(key, facts)
    absent = ItemFacts(gap=ItemGap.ABSENT if lines[-1].startswith(_END) else ItemGap.NO_ANSWER)
    unaskable = ItemFacts(gap=ItemGap.UNASKABLE)
    return {key: shown.get(key.data, absent) if _askable(key) else unaskable for key in keys}


def _refusal(lines: Sequence[bytes]) -> ItemGap | None:
    if not lines:
        return ItemGap.NO_ANSWER
    if lines[0].startswith(_UNAUTHENTICATED):
        return ItemGap.AUTH_FILE
    return ItemGap.OLD if lines[0].startswith(b"ERROR") and len(lines) > 1 else None


def _fetched(text: bytes) -> ItemFacts | None:
    return ItemFacts(size=int(text)) if text.isdigit() and len(text) < 10 else None


def _facts(key: bytes, text: bytes) -> ItemFacts | None:
    found = _FACTS.match(text)
    if found is None:
        return None
    expires, last, cas, slab = (int(found[number]) for number in (1, 2, 3, 5))
    size = int(found[6]) - _HEADER - (_CAS_ID if cas else 0) - len(key) - 1 - _LINE_END
    if not 0 <= size < _MOST_SIZE or abs(expires) > _MOST_S or last > _MOST_S:
        return None
    # memcached up to 1.6.21 or so prints the seconds negated, so that its -1 also stands for the last second.
    ttl = NEVER if expires == -1 else abs(expires)
    return ItemFacts(size, ttl, last, slab, found[4] == b"yes")
