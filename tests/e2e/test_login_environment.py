"""Variables of the login shell change neither the scripts of a trace nor bpftrace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.lab.memcached import DEBIAN
from fleettrace.lab.protocol import Command as Request
from tests.e2e.local import served

pytestmark = pytest.mark.lab

HOSTILE = {
    "TMOUT": "1",
    "BASH_ENV": "/nowhere/env",
    "ENV": "/nowhere/env",
    "SHELLOPTS": "xtrace",
    "PS4": "+ trace ",
    "QUOTING_STYLE": "c",
    "GREP_OPTIONS": "-v",
    "POSIXLY_CORRECT": "1",
    "PERL5OPT": "-Mnowhere",
    "IFS": "e",
    "BPFTRACE_MAX_PROBES": "1",
    "BPFTRACE_LOG_SIZE": "1",
    "BPFTRACE_STRLEN": "3",
    "BPFTRACE_MAP_KEYS_MAX": "1",
    "BPFTRACE_CACHE_USER_SYMBOLS": "nonsense",
    "BPFTRACE_BTF": "/nowhere",
}


def test_trace_is_exact_under_hostile_variables(tmp_path: Path) -> None:
    requests = [Request("set", (b"a" * 40,))] * 23 + [Request("get", (b"a" * 40, b"b"))] * 101
    with served(tmp_path, DEBIAN) as server:
        done, truth = server.trace(requests, "--misses", variables=HOSTILE)
    assert done.status == 0
    [host] = done.report["hosts"]
    assert (host["state"], host["requests"]) == ("ok", 225)
    assert {key["key"]: key["requests"] for key in done.report["keys"]} == {"a" * 40: 124, "b": 101}
    assert "coverage-low" not in {warning["code"] for warning in done.report["warnings"]}
    assert truth
