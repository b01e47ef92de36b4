"""Nodes know their location and their text; the size and depth of a file are bounded."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.yaml_reader.events import too_deep
from fleettrace.yaml_reader.tree import MAX_BYTES, MAX_DEPTH, Node, NodeKind, YamlError, read_tree
from tests.deep_yaml import TOO_DEEP, deep_by_aliases, first_line_too_deep

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("C", "Z")), max_size=20)
TREES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def value_of(node: Node) -> object:
    """Return the node as PyYAML's values."""
    match node.kind:
        case NodeKind.LIST:
            return [value_of(item) for item in node.items]
        case NodeKind.MAPPING:
            return {key.text: value_of(value) for key, value in node.entries}
        case NodeKind.NULL:
            return None
        case NodeKind.BOOLEAN:
            return node.text == "true"
        case NodeKind.NUMBER:
            return int(node.text)
        case _:
            return node.text


def scalars(node: Node) -> list[Node]:
    if node.items or node.entries:
        return [one for item in (*node.items, *(v for _, v in node.entries)) for one in scalars(item)]
    return [node]


@given(TREES, st.booleans())
def test_reads_what_pyyaml_writes(tree: object, flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    assert value_of(read_tree(text, "f")) == tree


@given(TREES, st.booleans())
def test_text_location_is_where_the_text_begins(tree: object, flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    lines = text.split("\n")
    for node in scalars(read_tree(text, "f")):
        if node.text_location is not None:
            assert lines[node.text_location.line - 1][node.text_location.column - 1 :].startswith(node.text)


def test_scalars_keep_their_text() -> None:
    tree = read_tree("[1:30, 010, 1_000, 10%, 'yes', yes]", "f")
    assert [item.text for item in tree.items] == ["1:30", "010", "1_000", "10%", "yes", "yes"]
    assert [item.kind for item in tree.items][-2:] == [NodeKind.STRING, NodeKind.BOOLEAN]


def test_text_location_is_behind_quotes_and_tags() -> None:
    tree = read_tree('- \'a b\'\n- !unsafe "x"\n- "\\x41"\n- &a a\n', "f")
    assert [item.text_location and item.text_location.column for item in tree.items] == [4, 12, None, 6]


def test_own_keys_override_merged_keys() -> None:
    tree = read_tree("- &a {x: 1, y: 2}\n- {<<: *a, y: 3}\n- {'<<': 4}", "f")
    assert [value_of(item) for item in tree.items] == [{"x": 1, "y": 2}, {"x": 1, "y": 3}, {"<<": 4}]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "more than 50,000 values, aliases unfolded"),
        ("x" * (MAX_BYTES + 1), "the file is too long: expected at most 1,000,000 bytes"),
        ("&a [*a]", "the alias *a has no anchor before it"),
        ("*a", "the alias *a has no anchor before it"),
        ("!!python/object/apply:os.system [ls]", "is not known here"),
        ("!vault x", "is not known here"),
        ("a: 1\n---\nb: 2", "f:2:1: bad YAML: a second document begins here"),
        ("a: 1\na: 2", "f:2:1: the key 'a' appears twice in one mapping (first on line 1)"),
        ("[a]: 1", "a list or mapping cannot be a key"),
        ("a: [1", "bad YAML: did not find expected"),
        ("a: \x00", "f:1:"),
        ("<<: 1", "'<<' merges mappings only: found a number"),
    ],
)
def test_invalid_text_is_refused_quickly(text: str, words: str) -> None:
    begun = time.monotonic()
    with pytest.raises(YamlError) as caught:
        read_tree(text, "f")
    assert words in str(caught.value)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("bounded", [True, False], ids=["installed parser", "parser without a bound"])
@pytest.mark.parametrize("text", TOO_DEEP.values(), ids=TOO_DEEP)
def test_deep_nesting_has_one_error(monkeypatch: pytest.MonkeyPatch, text: str, bounded: bool) -> None:
    if not bounded:  # PyYAML's own parser bounds no nesting, as libyaml did not before PyYAML 6.0.4
        monkeypatch.setattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with pytest.raises(YamlError) as caught:
        read_tree(text, "f")
    error = caught.value
    assert (error.location.line, error.message) == (first_line_too_deep(text, MAX_DEPTH), too_deep(MAX_DEPTH))


def test_aliases_count_for_the_depth() -> None:
    read_tree(deep_by_aliases(MAX_DEPTH), "f")
    with pytest.raises(YamlError) as caught:
        read_tree(deep_by_aliases(MAX_DEPTH + 1), "f")
    assert caught.value.message == too_deep(MAX_DEPTH)


def test_empty_text_is_null() -> None:
    assert read_tree("", "f").kind is read_tree("# a comment\n", "f").kind is NodeKind.NULL
