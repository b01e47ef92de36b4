"""The JSON Schema accepts what the reader accepts, as far as a schema can; the stored schema is current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from fleettrace.app.option_table import COMMANDS
from fleettrace.app.play.options import play_schema
from fleettrace.playbook.schema import schema
from tests.playbook.reading import problems
from tests.playbook.test_load import COMPLETE
from tests.playbook.test_wrong import NAMES, WRONG

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "playbooks").glob("*.yaml"))
SCHEMA = schema(play_schema())
BEYOND = {
    *("include-circle", "include-nothing", "undefined-variable", "variable-of-itself", "computed-variable"),
    *("rule-syntax", "rule-field", "name-twice", "file-twice", "page-to-stdout", "wrong-pattern", "wrong-duration"),
    *("wrong-share", "wrong-word", "wrong-keep", "wrong-expression-of-hosts"),
}
"""Errors that a schema cannot express."""
NO_DOCUMENT = {"bad-yaml", "key-twice"}
"""Errors of YAML itself."""


def valid(document: Any) -> bool:
    return bool(Draft202012Validator(SCHEMA).is_valid(document))


def loaded(text: str) -> Any:
    """Read YAML as an editor does: YAML 1.2 has no other booleans than true and false."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        letter: [each for each in resolvers if each[0] != "tag:yaml.org,2002:bool" or letter in "tTfF"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(text, Loader)


def test_stored_schema_is_current() -> None:
    assert json.loads((ROOT / "docs/schema/playbook-1.json").read_text()) == SCHEMA


def test_schema_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_playbooks_are_valid(path: Path) -> None:
    assert valid(loaded(path.read_text()))


def test_complete_play_is_valid(tmp_path: Path) -> None:
    assert problems(tmp_path, COMPLETE) == []
    assert valid(loaded(COMPLETE))


@pytest.mark.parametrize("name", [name for name in NAMES if name.removesuffix(".yaml") not in NO_DOCUMENT])
def test_schema_rejects_invalid_playbooks(name: str) -> None:
    assert valid(loaded((WRONG / name).read_text())) == (name.removesuffix(".yaml") in BEYOND)


def test_sweep_takes_every_option_of_run() -> None:
    names = {option.flag.removeprefix("--") for option in COMMANDS["run"].options}
    sweep = SCHEMA["items"]["else"]["properties"]["sweep"]["properties"]
    assert names - set(sweep) == {"hosts", "keep", "output", "out", "html", "resume", "extra-vars", "list-hosts"}
    assert set(sweep) <= names


def test_documentation_has_every_key() -> None:
    page = (ROOT / "docs/playbooks.md").read_text()
    tables = page.partition("## Keys")[2].partition("## Variables")[0]
    plays, _, includes = tables.partition("or an include of the plays of another file")
    for part, kind in ((plays, play_schema().play), (includes, play_schema().include)):
        rows = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
        assert rows == list(kind.keys)
