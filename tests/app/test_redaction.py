"""Redaction options: pseudonyms, and where their secret comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fleettrace.app.option_report import REDACTIONS
from fleettrace.app.options import RunOptions
from fleettrace.app.redaction import VARIABLE, Redaction, redaction
from fleettrace.cli.parser import parse
from fleettrace.errors import ConfigError
from fleettrace.report.build import build_report
from fleettrace.report.json_format import to_json
from fleettrace.report.redact import Redact
from tests.report.examples import realistic

SECRET = "0123456789abcdef0123456789abcdef"


def requested(*options: str, **environ: str) -> Redaction:
    return redaction(RunOptions.of(vars(parse(["run", *options], environ))), environ)


def shown(redact: Redaction) -> str:
    run, patterns = redact.apply(realistic())
    return json.dumps(to_json(build_report(run, patterns=patterns)))


def test_redactions_match_the_report_package() -> None:
    assert list(REDACTIONS) == [how.value for how in Redact]


def test_without_redact_keys_stay() -> None:
    assert requested(**{VARIABLE: SECRET}).how is None
    assert "user:1:profile" in shown(requested())


@pytest.mark.parametrize("option", ["--redact", "--redact=hash", "--redact=template", "--redact=drop"])
def test_redact_leaves_no_key(option: str) -> None:
    text = shown(requested(option, **{VARIABLE: SECRET}))
    assert "user:1:profile" not in text
    assert "config:feature-flags" not in text
    assert ("sess:{}" in text) == (option == "--redact=template")


def test_redact_variable_may_be_a_switch() -> None:
    assert requested(FLEETTRACE_REDACT="1", **{VARIABLE: SECRET}).how is Redact.HASH
    assert requested(FLEETTRACE_REDACT="drop").how is Redact.DROP
    assert requested(FLEETTRACE_REDACT="0").how is None


def test_secret_file_and_variable_give_equal_pseudonyms(tmp_path: Path) -> None:
    place = tmp_path / "secret"
    place.write_text(f"{SECRET}\n")
    by_file = requested("--redact", "--redact-key-file", str(place), **{VARIABLE: "another secret, set aside"})
    assert by_file == requested("--redact", **{VARIABLE: SECRET})


def test_secret_is_neither_shown_nor_inherited() -> None:
    environ = {VARIABLE: SECRET, "HOME": "/"}
    made = redaction(RunOptions.of(vars(parse(["run", "--redact"], environ))), environ)
    assert SECRET not in repr(made)
    assert environ == {"HOME": "/"}


def test_user_family_is_found_in_redacted_keys() -> None:
    options = ("--redact=template", "--template", r"^pod(\d):rails:(\d+)")
    run, patterns = requested(*options, **{VARIABLE: SECRET}).apply(realistic())
    families = [row.template for row in build_report(run, patterns=patterns).templates]
    assert "pod{}:rails:{}" in "".join(families)
    assert not any(re.search(r"pod\d", family) for family in families)


@pytest.mark.parametrize(
    ("options", "environ", "words"),
    [
        (["--redact"], {}, "--redact=hash needs a secret: name its file with --redact-key-file, or put it into "),
        (["--redact=template"], {VARIABLE: "short"}, "has 5 bytes, fewer than 16"),
        (["--redact", "--redact-key-file", "/nowhere/x"], {}, "--redact-key-file /nowhere/x: No such file"),
        (["--redact-key-file", "x"], {}, "without --redact: keys would be shown as they are"),
        (["--redact", "--template", "a"], {VARIABLE: SECRET}, "--template with --redact=hash"),
        (["--redact=half"], {}, "--redact: 'half' is not one of hash, template, drop"),
        (["--template", "a("], {}, "--template: 'a(' is not a regular expression: "),
        ([], {"FLEETTRACE_TEMPLATE": "ok\n["}, "FLEETTRACE_TEMPLATE: '[' is not a regular expression"),
    ],
)
def test_impossible_redaction_is_refused(options: list[str], environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        requested(*options, **environ)


def test_template_options_replace_those_of_the_variable() -> None:
    variable = {"FLEETTRACE_TEMPLATE": "a\nb"}
    assert [one.pattern for one in requested(**variable).patterns] == [b"a", b"b"]
    assert [one.pattern for one in requested("--template", "c", "--template", "d", **variable).patterns] == [b"c", b"d"]
