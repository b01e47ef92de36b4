"""JSON reports built by hand: a very large one, and one with the required fields only."""

from __future__ import annotations

import random
from typing import Any

__all__ = ["bare", "large"]

_PROBE = {"kind": "item", "exact": True, "symbol": "do_item_get", "offset": 4, "overlay": True, "cost": 1.7, "why": ""}
_INSTANCE: dict[str, Any] = {
    "pid": 4242,
    "container": None,
    "exe": "/usr/bin/memcached",
    "version": "1.6.18",
    "build_id": "6f" * 20,
    "ports": [11211],
    "probe": _PROBE,
    "window_s": 10.0,
    "requests": 1_000_000,
    "absent": 9,
    "state": "ok",
}


def large(keys: int = 10_000, hosts: int = 500) -> dict[str, Any]:
    """Return a report of this size with all fields."""
    rng = random.Random("large")
    names = [f"cache-{number:03}.dc1.example.com" for number in range(hosts)]
    key_rows = [
        {
            "key": f"user:{rng.getrandbits(64):016x}:profile:{rank}",
            "key_base64": None,
            "truncated": False,
            "length": 41,
            "requests": 4_000_000 // (rank + 1),
            "requests_max": 4_000_000 // (rank + 1) + 120,
            "share": 0.1 / (rank + 1),
            "rate": 400_000.123 / (rank + 1),
            "certified": rank < 5000,
            "ops": {"get": 3_900_000 // (rank + 1), "set": 100_000 // (rank + 1)},
            "misses": None,
            "hosts": rng.randrange(1, hosts),
            "spread": "several",
            "top_host": {"host": rng.choice(names), "requests": 90_000 // (rank + 1), "share": 0.01},
            "timeline": [rng.randrange(400_000 // (rank + 1) + 1) for _ in range(30)],
            "trend": None,
        }
        for rank in range(keys)
    ]
    host_rows = [
        {
            "host": name,
            "state": "ok",
            "error": None,
            "requests": 1_000_000 + number,
            "rate": 100_000.5 + number,
            "share": 1 / hosts,
            "load": 1.0,
            "cause": None,
            "timeline": [100_000] * 30,
            "top": [{**row, "requests": rng.randrange(50_000)} for row in key_rows[:20]],
            "instances": [_INSTANCE],
        }
        for number, name in enumerate(names)
    ]
    return {
        "schema": "fleettrace/report/1",
        "run": {
            "id": "large",
            "started": "2026-09-21T03:12:04Z",
            "finished": None,
            "pattern": "all",
            "duration_s": 30.0,
        },
        "totals": {
            "hosts": hosts,
            "hosts_ok": hosts,
            "instances": hosts,
            "requests": 500_000_000,
            "rate": 5e7,
            "certified": 5000,
        },
        "keys": key_rows,
        "templates": [{"template": "user:{}:profile:{}", "requests": 39_000_000, "share": 0.9, "keys": keys}],
        "hosts": host_rows,
        "warnings": [],
    }


def bare() -> dict[str, Any]:
    """Return a report with the required fields only, and almost no known values."""
    unknown = dict.fromkeys(("version", "build_id", "window_s", "requests", "absent"))
    probe = {**dict.fromkeys(_PROBE), "exact": False, "overlay": False, "why": "no symbol"}
    host = {
        "host": "a",
        "state": "unsupported",
        "error": {"code": "c", "message": "no"},
        "requests": None,
        "rate": None,
        "share": None,
        "instances": [{**_INSTANCE, **unknown, "probe": probe, "ports": [], "state": "unsupported"}],
    }
    return {
        "schema": "fleettrace/report/1",
        "run": {"id": "r", "started": None, "finished": None, "version": "0", "pattern": "all", "duration_s": 10},
        "totals": {"hosts": 1, "hosts_ok": 0, "instances": 1, "requests": None, "rate": None, "certified": 0},
        "keys": [],
        "templates": [],
        "hosts": [host],
        "warnings": [{"code": "w", "host": None, "message": "m"}],
    }
