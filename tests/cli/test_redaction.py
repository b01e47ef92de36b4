"""Names are hidden before anything is written, and the secret behind it comes from a file or the environment only."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fleettrace.cli.parser import REDACTIONS, parse
from fleettrace.cli.redaction import VARIABLE, Redaction, redaction
from fleettrace.errors import ConfigError
from fleettrace.report.build import build_report
from fleettrace.report.json_format import to_json
from fleettrace.report.redact import Redact
from tests.report.examples import realistic

SECRET = "0123456789abcdef0123456789abcdef"


def wanted(*options: str, **environ: str) -> Redaction:
    return redaction(parse(["run", *options], environ), environ)


def shown(hidden: Redaction) -> str:
    run, patterns = hidden.apply(realistic())
    return json.dumps(to_json(build_report(run, patterns=patterns)))


def test_every_way_of_hiding_has_its_word() -> None:
    assert list(REDACTIONS) == [how.value for how in Redact]


def test_without_the_option_names_stay_as_they_are() -> None:
    assert wanted(**{VARIABLE: SECRET}).how is None
    assert "user:1:profile" in shown(wanted())


@pytest.mark.parametrize("option", ["--redact", "--redact=hash", "--redact=template", "--redact=drop"])
def test_with_it_no_name_is_left(option: str) -> None:
    text = shown(wanted(option, **{VARIABLE: SECRET}))
    assert "user:1:profile" not in text
    assert "config:feature-flags" not in text
    assert ("sess:{}" in text) == (option == "--redact=template")


def test_a_variable_stands_in_for_the_option_as_for_a_switch() -> None:
    assert wanted(FLEETTRACE_REDACT="1", **{VARIABLE: SECRET}).how is Redact.HASH
    assert wanted(FLEETTRACE_REDACT="drop").how is Redact.DROP
    assert wanted(FLEETTRACE_REDACT="0").how is None


def test_a_file_and_the_variable_give_the_same_pseudonyms(tmp_path: Path) -> None:
    place = tmp_path / "secret"
    place.write_text(f"{SECRET}\n")
    by_file = wanted("--redact", "--redact-key-file", str(place), **{VARIABLE: "another secret, set aside"})
    assert by_file == wanted("--redact", **{VARIABLE: SECRET})


def test_the_secret_is_neither_shown_nor_inherited() -> None:
    environ = {VARIABLE: SECRET, "HOME": "/"}
    hidden = redaction(parse(["run", "--redact"], environ), environ)
    assert SECRET not in repr(hidden)
    assert environ == {"HOME": "/"}


def test_a_users_own_family_is_found_again_in_hidden_names() -> None:
    options = ("--redact=template", "--template", r"^pod(\d):rails:(\d+)")
    run, patterns = wanted(*options, **{VARIABLE: SECRET}).apply(realistic())
    families = [row.template for row in build_report(run, patterns=patterns).templates]
    assert "pod{}:rails:{}" in "".join(families)
    assert not any(re.search(r"pod\d", family) for family in families)


@pytest.mark.parametrize(
    ("options", "environ", "words"),
    [
        (["--redact"], {}, "--redact=hash needs a secret: name its file with --redact-key-file, or put it into "),
        (["--redact=template"], {VARIABLE: "short"}, "has 5 bytes, at least 16 are needed"),
        (["--redact", "--redact-key-file", "/nowhere/x"], {}, "--redact-key-file /nowhere/x: No such file"),
        (["--redact-key-file", "x"], {}, "without --redact: names would be shown as they are"),
        (["--redact", "--template", "a"], {VARIABLE: SECRET}, "--template with --redact=hash"),
        (["--redact=half"], {}, "--redact: 'half' is not one of hash, template, drop"),
        (["--template", "a("], {}, "--template: 'a(' is no regular expression: "),
        ([], {"FLEETTRACE_TEMPLATE": "ok\n["}, "FLEETTRACE_TEMPLATE: '[' is no regular expression"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(options: list[str], environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        wanted(*options, **environ)


def test_families_of_the_command_line_put_those_of_the_variable_aside() -> None:
    variable = {"FLEETTRACE_TEMPLATE": "a\nb"}
    assert [one.pattern for one in wanted(**variable).patterns] == [b"a", b"b"]
    assert [one.pattern for one in wanted("--template", "c", "--template", "d", **variable).patterns] == [b"c", b"d"]
