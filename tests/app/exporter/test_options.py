"""Options that cannot work at every interval are refused before anything is served."""

from __future__ import annotations

import pytest

from fleettrace.app.exporter.options import ExporterOptions, check
from fleettrace.cli.parser import parse
from fleettrace.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ExporterOptions(interval=5.0), "--interval 5s is not longer than the window of 5 s: increase"),
        (ExporterOptions(inventory=("hosts", "-")), "`-` can be read only once"),
    ],
)
def test_options_that_cannot_repeat_are_refused(options: ExporterOptions, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check(options)


@pytest.mark.parametrize("word", ["--ask-pass", "--ask-vault-pass", "--save=x", "--splay=1s", "--listen=localhost:1"])
def test_options_for_one_run_are_unknown(word: str) -> None:
    with pytest.raises(ConfigError):
        parse(["exporter", word], {})
