"""The language of rules: its forms, and its errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.playbook.findings import SubjectKind
from fleettrace.playbook.notify.interface import NotifyWhen
from fleettrace.playbook.rules.fields import FIELDS
from fleettrace.playbook.rules.grammar import MAX_RULE
from fleettrace.playbook.rules.language import RuleError, compile_rule

DOCS = Path(__file__).parents[2] / "docs/rules.md"

INVALID = [
    ("", 1, "the rule is empty: expected an expression such as key.share > 5%"),
    ("key.shre > 5%", 1, "there is no field key.shre; did you mean key.share?"),
    ("key.share > 5% and host.loda > 2", 20, "there is no field host.loda; did you mean host.load?"),
    ("covrage < 99%", 1, "there is no field covrage; did you mean coverage?"),
    ("kye changed since baseline", 1, "there is no field kye; did you mean key?"),
    ("key.share > 5k/s", 13, "key.share: expected a part such as 5%, found 5k/s"),
    ("key.rate > 20k", 12, "key.rate: expected a rate such as 20k/s, found 20k"),
    ("key.share > 500%", 13, "500% is not a part: expected 0% to 100%"),
    ("key.share >", 12, "expected a number such as 5% or 20k/s, a text in quotes or a word, found the end"),
    ("key.share", 10, "key.share alone is not a test: expected an operator after it, such as > or =="),
    ("key > 5%", 1, "key alone is not a field: expected a field such as key.requests, or key changed since baseline"),
    ("key.share = 5%", 11, "expected one of > >= < <= == != ~, found ="),
    ("(key.share > 5%", 16, "expected ), found the end"),
    ("key.share > 5% xor coverage < 1%", 16, "expected and or or, found xor"),
    (
        "key.share > 5% and host.load > 2",
        20,
        "host.load is of a host, but the rule is about a key: write two rules",
    ),
    (
        "key.spread == everywere",
        15,
        "everywere is not a value of key.spread: expected one of one, several, everywhere; did you mean everywhere?",
    ),
    ("key.spread > one", 12, "key.spread is not a number: expected one of == != ~"),
    ("key.name == user", 13, 'expected a text in quotes: key.name == "user"'),
    ("key.rate > 2 x mean", 16, "the mean is taken over all hosts: expected a field of host.* before it"),
    ("new key in top 0", 16, "expected a whole number from 1 to 1000"),
    ("new host in top 3", 5, "expected key, found host"),
    ("host moved since baseline", 6, "only keys move: expected changed, new, gone, risen or fallen"),
    ("key gone 2x since baseline", 10, "gone takes no multiple: only changed, risen and fallen do"),
    ("key risen 1x since baseline", 11, "expected a multiple of more than 1x and at most 1000x"),
    (
        "key.misses > 0.5",
        14,
        "key.misses can be a part or a number, and 0.5 is not a whole number: expected 50%",
    ),
    ("x" * (MAX_RULE + 1), MAX_RULE, f"the rule is too long: at most {MAX_RULE} characters"),
]


@pytest.mark.parametrize(("rule", "column", "message"), INVALID)
def test_invalid_rule_has_column_and_message(rule: str, column: int, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(rule)
    assert (caught.value.column, caught.value.message, caught.value.part) == (column, message, "when")


@pytest.mark.parametrize(
    ("message", "column", "words"),
    [
        ("{key.nmae}", 2, "there is no field key.nmae; did you mean key.name?"),
        (
            "hot: {host.load}",
            7,
            "host.load: the rule is about a key; its message can have fields of key.* and totals.*",
        ),
        ("50 } 50", 4, "a single }: expected a field such as {key.share}; write a literal brace twice"),
        ("{key.share", 1, "a single {: expected a field such as {key.share}; write a literal brace twice"),
        ("{key.share.__class__}", 2, "there is no field key.share.__class__; did you mean key.share?"),
    ],
)
def test_invalid_message_has_column_and_message(message: str, column: int, words: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule("key.share > 5%", message=message)
    assert (caught.value.column, caught.value.message, caught.value.part) == (column, words, "message")


@pytest.mark.parametrize(
    ("rule", "same"),
    [
        ("key.share > 5 %", "key.share>5%"),
        ("host.load > 2 x mean", "host.load > 2x"),
        ("coverage < 99%", "totals.coverage < 0.99"),
        ("not not key.share > 5%", "(key.share > 5%)"),
        ("key.requests > 20k", "key.requests > 20_000"),
        ("key.value_bytes > 1MB", "key.value_bytes > 1000kB"),
        ("window < 1m", "window < 60s"),
        ("key.share > 5%\n  and key.rate > 1/s", "key.share > 5% and key.rate > 1/s"),
        ("key risen 2x since baseline", "key risen 2 x since baseline"),
    ],
)
def test_equivalent_forms_compile_to_one_test(rule: str, same: str) -> None:
    assert compile_rule(rule).test == compile_rule(same).test


def test_and_binds_closer_than_or() -> None:
    plain = compile_rule("key.share > 5% or key.rate > 1/s and key.hosts > 2")
    assert plain.test == compile_rule("key.share > 5% or (key.rate > 1/s and key.hosts > 2)").test
    assert plain.test != compile_rule("(key.share > 5% or key.rate > 1/s) and key.hosts > 2").test


def test_rule_has_one_kind_of_subject() -> None:
    subjects = {
        "key.share > 5% and rate > 1/s": SubjectKind.KEY,
        "new key in top 10": SubjectKind.KEY,
        "template risen since baseline": SubjectKind.TEMPLATE,
        "host.load > 2 x mean": SubjectKind.HOST,
        "coverage < 99% or changed since baseline": SubjectKind.TOTALS,
    }
    assert {rule: compile_rule(rule).subject for rule in subjects} == subjects


WORDS = [
    *FIELDS,
    *[
        "and",
        "or",
        "not",
        "(",
        ")",
        ">",
        "<",
        "==",
        "~",
        "5%",
        "20k/s",
        "2",
        "x",
        "mean",
        "new",
        "key",
        "in",
        "top",
        "host",
        "changed",
        "since",
        "baseline",
        "'a",
    ],
]


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=60))
def test_any_text_compiles_or_raises_rule_error(text: str) -> None:
    try:
        compile_rule(text)
    except RuleError as error:
        assert 1 <= error.column <= len(text) + 1
        assert error.message.isprintable()


def test_depth_of_a_rule_is_limited() -> None:
    compile_rule("not " * 240 + "rate > 1/s")
    compile_rule("(" * 50 + "rate > 1/s" + ")" * 50)
    with pytest.raises(RuleError, match="too many parentheses"):
        compile_rule("(" * 490 + "rate > 1/s" + ")" * 490)


def test_documented_rules_compile() -> None:
    rules = re.findall(r"^ +(?:- )?when: (.+)$", DOCS.read_text(), re.M)
    rules = [rule for rule in rules if rule not in list(NotifyWhen)]
    language = DOCS.read_text().partition("## The language")[2].partition("\n## ")[0]
    rules += re.findall(r"^\| `([^`]+)` \|", language, re.M)
    assert len(rules) > 10
    for rule in rules:
        compile_rule(rule)
