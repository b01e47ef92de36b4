"""Key sets with planted families, generated from a seed, to measure the search for families."""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Callable

__all__ = ["SHAPES", "KeySet", "fleet", "mixture"]

KeySet = dict[bytes, tuple[int, str | None]]
"""Key -> (requests, the planted template; None for a key without a family)."""

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NOUNS = """
    user session cart order item product profile settings feed timeline friends photo album comment like
    notification token auth device campaign banner price stock review rating search suggest geo weather
    invoice payment wallet coupon shipment address region store menu recipe team match player score
""".split()  # noqa: SIM905

_Id = Callable[[random.Random], str]


def numeric(rng: random.Random) -> str:
    return str(rng.randrange(10 ** rng.choice((4, 6, 9))))


def hexadecimal(rng: random.Random) -> str:
    return f"{rng.getrandbits(64):016x}"


def short_hex(rng: random.Random) -> str:
    return f"{rng.getrandbits(32):08x}"


def uuid4(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def base62(rng: random.Random) -> str:
    return "".join(rng.choices(_BASE62, k=20))


def short_base62(rng: random.Random) -> str:
    return "".join(rng.choices(_BASE62, k=7))


def base64url(rng: random.Random) -> str:
    return base64.urlsafe_b64encode(rng.randbytes(16)).decode().rstrip("=")


def date(rng: random.Random) -> str:
    return f"{rng.randrange(2000, 2030)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"


def compact_date(rng: random.Random) -> str:
    return date(rng).replace("-", "")


def username(rng: random.Random) -> str:
    return "".join(rng.choice(("ka", "lo", "mi", "ber", "tan", "sho", "ri", "el", "vin", "do")) for _ in range(4))


def address(rng: random.Random) -> str:
    return ".".join(str(rng.randrange(256)) for _ in range(4))


def _plant(rng: random.Random, keys: KeySet, template: str, ids: list[_Id], size: int) -> None:
    """Add up to `size` keys of one family; weights are Zipf-like."""
    for rank in range(1, size + 1):
        key = template.format(*(make(rng) for make in ids)).encode()
        keys.setdefault(key, (max(1, size * 10 // rank), template))


def _shape(make: _Id, layouts: tuple[str, ...]) -> Callable[[random.Random], KeySet]:
    def build(rng: random.Random) -> KeySet:
        keys: KeySet = {}
        nouns = rng.sample(_NOUNS, 24)
        for _ in range(rng.randrange(6, 12)):
            layout = rng.choice(layouts)
            words = [nouns.pop() for _ in range(layout.count("W"))] if layout.count("W") <= len(nouns) else []
            if not words:
                break
            for word in words:
                layout = layout.replace("W", word, 1)
            _plant(rng, keys, layout, [make] * layout.count("{}"), rng.randrange(30, 1500))
        return keys

    return build


def nested(rng: random.Random) -> KeySet:
    """Add keys with several delimiters, names at both ends, namespaces that look like ids."""
    keys: KeySet = {}
    names = ["".join(rng.choices(_BASE62, k=4)) for _ in range(3)]
    features = rng.sample(_NOUNS, 4)
    for name in names:
        _plant(rng, keys, f"{name}:vS:{{}}", [base62], rng.randrange(200, 900))
    for feature in features:
        template = f"pod{{}}:rails:{{}}::feature:{feature}"
        ids: list[_Id] = [lambda r: str(r.randrange(40)), lambda r: f"{r.randrange(60):02}"]
        _plant(rng, keys, template, ids, rng.randrange(100, 600))
    _plant(rng, keys, "app/v2/{}|{}#meta", [numeric, short_hex], rng.randrange(100, 900))
    _plant(rng, keys, "app/v2/{}|{}#body", [numeric, short_hex], rng.randrange(100, 900))
    return keys


def prefixed(rng: random.Random) -> KeySet:
    """Add keys with letters and a number in one word."""
    keys: KeySet = {}

    def small(rng: random.Random) -> str:
        return str(rng.randrange(5000))

    few: _Id = lambda r: str(r.randrange(12))  # noqa: E731
    _plant(rng, keys, "user{}:profile", [small], rng.randrange(100, 900))
    _plant(rng, keys, "user{}:settings", [small], rng.randrange(100, 900))
    _plant(rng, keys, "pod{}:cache:{}", [few, numeric], rng.randrange(300, 900))
    _plant(rng, keys, "shard_{}:idx:{}", [few, numeric], rng.randrange(300, 900))
    _plant(rng, keys, "thumb:{}:{}x{}", [numeric, small, small], rng.randrange(100, 900))
    _plant(rng, keys, "sess-u{}-{}", [small, hexadecimal], rng.randrange(200, 900))
    _plant(rng, keys, "tok{}", [hexadecimal], rng.randrange(200, 900))
    return keys


def unstructured(rng: random.Random) -> KeySet:
    """Add keys without a family, of several alphabets."""
    keys: KeySet = {}
    for make in (base62, base64url, hexadecimal, uuid4):
        for _ in range(rng.randrange(50, 600)):
            keys[make(rng).encode()] = (rng.randrange(1, 99), None)
    return keys


def shared_prefixes(rng: random.Random) -> KeySet:
    """Add families with the same beginning."""
    keys: KeySet = {}
    layouts: list[tuple[str, list[_Id]]] = [
        ("user:{}", [numeric]),
        ("user:{}:profile", [numeric]),
        ("user:{}:settings", [numeric]),
        ("user:{}:friends:{}", [numeric, numeric]),
        ("user:session:{}", [base62]),
        ("user:by-name:{}", [username]),
        ("user_{}_avatar", [numeric]),
        ("user_{}_cover", [numeric]),
        ("user.{}.last.login", [short_base62]),
        ("user-flags-{}", [uuid4]),
    ]
    for template, ids in layouts:
        _plant(rng, keys, template, ids, rng.randrange(60, 1200))
    return keys


def zipf(rng: random.Random) -> KeySet:
    """Add forty families with any kind of id; sizes are proportional to 1/rank."""
    keys: KeySet = {}
    makers = [numeric, hexadecimal, uuid4, base62, base64url, short_base62, username, date]
    for rank, noun in enumerate(rng.sample(_NOUNS, 40), 1):
        layout = rng.choice((f"{noun}:{{}}", f"{noun}:{{}}:data", f"{noun}/{{}}/{{}}", f"ns:{noun}:{{}}"))
        _plant(rng, keys, layout, [rng.choice(makers) for _ in range(2)], max(20, 6000 // rank))
    return keys


_COLON = ("W:{}", "W:{}:W", "W:W:{}", "W:{}:W:{}", "{}:W")
SHAPES: dict[str, Callable[[random.Random], KeySet]] = {
    "numeric": _shape(numeric, (*_COLON, "W_{}", "W.{}.W", "W-{}-W")),
    "hex": _shape(hexadecimal, (*_COLON, "W_{}", "W.{}.W")),
    "short hex": _shape(short_hex, (*_COLON, "W_{}", "W/{}")),
    "uuid": _shape(uuid4, (*_COLON, "W_{}", "W-{}", "W.{}.W")),
    "base62": _shape(base62, (*_COLON, "W_{}", "W|{}|W")),
    "short base62": _shape(short_base62, (*_COLON, "W_{}")),
    "base64url": _shape(base64url, ("W:{}", "W:{}:W", "W:W:{}", "W/{}", "W_{}")),
    "dates": _shape(date, (*_COLON, "W_{}", "W-{}")),
    "compact dates": _shape(compact_date, (*_COLON, "W_{}")),
    "user names": _shape(username, ("W:{}", "W:{}:W", "W:W:{}")),
    "addresses": _shape(address, (*_COLON, "W_{}")),
    "nested delimiters": nested,
    "prefix and number": prefixed,
    "no structure": unstructured,
    "shared prefixes": shared_prefixes,
    "zipf": zipf,
}


def mixture(rng: random.Random, shapes: int = 3) -> KeySet:
    """Return key sets of several shapes, joined, each with its own prefix so that their families differ."""
    keys: KeySet = {}
    for number, name in enumerate(rng.sample(sorted(set(SHAPES) - {"no structure"}), shapes)):
        word = ("alpha", "beta", "gamma", "delta")[number]
        for key, (requests, template) in SHAPES[name](rng).items():
            keys[f"{word}:".encode() + key] = (requests, f"{word}:{template}")
    return keys


def fleet(size: int, seed: int) -> KeySet:
    """Return a mixture of every planted shape with `size` keys."""
    keys: KeySet = {}
    rng = random.Random(f"fleet {seed}")
    while len(keys) < size:
        word = f"fleet{chr(ord('a') + rng.randrange(26))}{chr(ord('a') + rng.randrange(26))}".encode()
        for key, (requests, template) in mixture(rng, 4).items():
            keys[word + b"/" + key] = (requests, f"{word.decode()}/{template}")
    return dict(list(keys.items())[:size])
