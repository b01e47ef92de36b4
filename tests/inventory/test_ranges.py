"""Host ranges, compared with Ansible's expansion."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.inventory.loaders.layout import expand_host, expand_range
from tests.inventory.oracle import expanded_range

_WORD = st.text("ab-.1", max_size=3)
_NUMBERS = st.integers(0, 120).flatmap(lambda first: st.tuples(st.just(first), st.integers(first, first + 9)))
_LETTERS = st.tuples(st.sampled_from("afAzxM"), st.sampled_from("bgCzZ"))
_STEP = st.sampled_from(["", ":1", ":2", ":3"])


def _number_range(bounds: tuple[int, int], width: int, step: str) -> str:
    first, last = (str(bound).zfill(width) for bound in bounds)
    return f"[{first}:{last}{step}]"


_RANGE = st.one_of(
    st.builds(_number_range, _NUMBERS, st.integers(1, 4), _STEP),
    st.builds(lambda pair, step: f"[{pair[0]}:{pair[1]}{step}]", _LETTERS, _STEP),
    st.sampled_from(["[:4]", "[5:]", "[5]", "[1:2:3:4]", "[0:3:0]", "[a:3]", "[007:9]", "[x:y]"]),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(_WORD, _RANGE), min_size=1, max_size=3), _WORD)
def test_ranges_expand_as_in_ansible(pieces: list[tuple[str, str]], end: str) -> None:
    text = "".join(head + part for head, part in pieces) + end
    expected = expanded_range(text)
    if expected:
        assert expand_range(text) == expected
    else:
        with pytest.raises(ConfigError):
            expand_range(text)


@pytest.mark.parametrize(
    ("text", "names", "port"),
    [
        ("cache-[001:003]", ["cache-001", "cache-002", "cache-003"], None),
        ("cache-[001-003]", ["cache-001", "cache-002", "cache-003"], None),
        ("cache-[1-5:2]:2222", ["cache-1", "cache-3", "cache-5"], 2222),
        ("r[1:2]-n[a:b].net", ["r1-na.net", "r1-nb.net", "r2-na.net", "r2-nb.net"], None),
        ("db[0:10:5]", ["db0", "db5", "db10"], None),
        ("10.0.0.[9:11]", ["10.0.0.9", "10.0.0.10", "10.0.0.11"], None),
        ("[fe80::[1:2]]:22", ["fe80::1", "fe80::2"], 22),
        ("plain", ["plain"], None),
    ],
)
def test_expand_host_splits_names_and_port(text: str, names: list[str], port: int | None) -> None:
    assert expand_host(text) == (names, port)


@pytest.mark.parametrize(
    "text", ["c[5:1]", "c[1:3", "c[0:99999999]", "c[0:9999][0:9999]", "c[ab:cd]", "c[1:5:-1]", "c[-1:3]"]
)
def test_malformed_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="c\\["):
        expand_range(text)
