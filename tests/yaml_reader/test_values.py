"""The fast reader returns what PyYAML's safe loader returns."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.yaml_reader.events import too_deep
from fleettrace.yaml_reader.values import MAX_DEPTH, Unsafe, Vaulted, line_of, read_json, read_text
from tests.deep_yaml import TOO_DEEP, deep_by_aliases, first_line_too_deep

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(
        ["yes", "0755", "1:30", "~", "<<", "=", "2020-01-01", "1e3", "null", "!x", "&a", "*a", "- b", "{{ x }}"]
    ),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_VALUES, st.booleans())
def test_reads_dumps_as_pyyaml(value: Any, flow: bool) -> None:
    text = yaml.safe_dump({"key": value}, default_flow_style=flow, allow_unicode=True)
    assert read_text(text, "x") == yaml.load(text, Loader=yaml.CSafeLoader)


@pytest.mark.parametrize(
    "text",
    [
        "a: yes\nb: 0755\nd: 1:30\ne: 1_000\nf: ~\ng:\nh: .inf\ni: 2020-01-01\nj: 1.5\nk: 10.0.0.1\nl: 'yes'\nm: ''",
        "base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  y: 3\nboth:\n  <<: [*b, {x: 9, z: 9}]\n  w: 0",
        "- a\n- [b, {c: d}]\n- |\n  text\n  more\n- >\n  folded\n  text\n- !!str 17\n- !!int '17'",
        "{a: [1, 2, {b: c}], 'd': \"e\\n\"}",
        "? plain\n: value\n1: int key\nfalse: bool key",
        "a: &v hello\nb: *v",
        "",
        "# only a comment\n",
        "---\na: 1\n...\n",
    ],
)
def test_reads_examples_as_pyyaml(text: str) -> None:
    assert read_text(text, "x") == yaml.safe_load(text)


def test_vault_and_unsafe_tags() -> None:
    found = read_text(
        'a: !vault |\n  $ANSIBLE_VAULT\nb: !unsafe "{{ x }}"\nc: !unsafe ["{{ y }}"]\nd: "{{ z }}"\n', "x"
    )
    assert found["a"] == Vaulted("$ANSIBLE_VAULT\n")
    assert [type(item) for item in (found["b"], found["c"][0], found["d"])] == [Unsafe, Unsafe, str]
    assert read_text('{"a": {"__ansible_vault": "x"}, "b": {"__ansible_unsafe": "{{ x }}"}}', "x") == {
        "a": Vaulted("x"),
        "b": Unsafe("{{ x }}"),
    }


@pytest.mark.parametrize(
    "text", ["[" * 30000, '{"a":' * 30000, "a: 2020-13-45", "? [a]\n: b", "a: !!python/object:os.system x", "a: \x01"]
)
def test_unreadable_text_is_a_one_line_error(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_text(text, "some/file.yaml")
    assert str(caught.value).startswith("some/file.yaml:")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bounded", [True, False], ids=["installed parser", "parser without a bound"])
@pytest.mark.parametrize("text", TOO_DEEP.values(), ids=TOO_DEEP)
def test_deep_nesting_has_one_error(monkeypatch: pytest.MonkeyPatch, text: str, bounded: bool) -> None:
    if not bounded:  # PyYAML's own parser bounds no nesting, as libyaml did not before PyYAML 6.0.4
        monkeypatch.setattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with pytest.raises(ConfigError) as caught:
        read_text(text, "some/file.yaml")
    assert (caught.value.line, caught.value.message) == (first_line_too_deep(text, MAX_DEPTH), too_deep(MAX_DEPTH))


def test_aliases_count_for_the_depth() -> None:
    read_text(deep_by_aliases(MAX_DEPTH), "x")
    with pytest.raises(ConfigError) as caught:
        read_text(deep_by_aliases(MAX_DEPTH + 1), "x")
    assert caught.value.message == too_deep(MAX_DEPTH)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 30_000])
def test_json_has_the_same_depth_limit(depth: int) -> None:
    text = '{"a":' * (depth - 1) + "[1]" + "}" * (depth - 1)
    with pytest.raises(ConfigError) as caught:
        read_json(text, "x")
    assert caught.value.message == too_deep(MAX_DEPTH, "JSON")


def test_nesting_up_to_the_limit_is_read() -> None:
    text = '{"a": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"
    assert read_text("---\n" + text, "x") == read_json(text, "x") == yaml.safe_load(text)


def test_line_of_finds_the_innermost_step() -> None:
    text = "all:\n  hosts:\n    a:\n      list:\n        - 1\n        - 2\n    b: {x: 1}\n"
    assert line_of(text, ("all", "hosts", "a", "list", 1)) == 6
    assert line_of(text, ("all", "hosts", "b", "x")) == 7
    assert line_of(text, ("all", "hosts", "c")) == 2
    assert line_of(text, ()) is None
    assert line_of("{", ("a",)) is None
