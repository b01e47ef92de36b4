"""`play --check` warns before a trace that a window is too short for the rules."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from fleettrace.app.history import likeness
from fleettrace.app.play.options import PlayOptions
from fleettrace.app.play.setup import PreparedPlay, prepare
from fleettrace.app.play.windows import window_warnings
from fleettrace.store.history.database import History
from tests.playbook.reading import plays
from tests.store.diff_traffic import window
from tests.store.test_diff_visible import BURSTY

TEXT = "- {name: all, hosts: all, sweep: {duration: %s}, rules: ['%s']}\n"


def prepared(directory: Path, duration: str, rule: str = "key risen 2x since baseline") -> PreparedPlay:
    text = TEXT % (duration, rule)
    inventory = directory / "fleet.yaml"
    inventory.write_text("all: {hosts: {cache-0: , cache-1: }}\n")
    options = PlayOptions(files=("playbook.yaml",), inventory=(str(inventory),), store=str(directory / "history.db"))
    [one] = prepare(plays(directory, text), options)
    return one


def store(play: PreparedPlay, seconds: int) -> None:
    """Store a run of the play."""
    alike = likeness(play.options)
    run = window(BURSTY, random.Random(1), seconds=seconds, name="run-1")
    info = replace(run.info, pattern=alike.pattern, options=alike.options)
    stored = replace(
        run, info=info, playbook=alike.playbook, playbook_file=alike.playbook_file, inventory=alike.inventory
    )
    with History.open(Path(play.options.store or ""), create=True) as history:
        history.add(stored)


def test_stored_run_predicts_what_a_window_shows(tmp_path: Path) -> None:
    store(prepared(tmp_path, "10s"), 10)
    (message,) = window_warnings(prepared(tmp_path, "2s"))
    assert message.startswith("duration: 2s is too short for key risen 2x since baseline: a rise to less than ")
    assert list(window_warnings(prepared(tmp_path, "20s"))) == []


@pytest.mark.parametrize(("duration", "warned"), [("3s", True), ("10s", False)])
def test_first_run_is_warned_of_short_windows(tmp_path: Path, duration: str, warned: bool) -> None:
    assert bool(list(window_warnings(prepared(tmp_path, duration)))) is warned


def test_other_rules_need_no_long_window(tmp_path: Path) -> None:
    assert list(window_warnings(prepared(tmp_path, "3s", "host.load > 2 x mean"))) == []
    assert list(window_warnings(prepared(tmp_path, "3s", "fleet.rate gone since baseline"))) == []


def test_other_options_are_not_learned_from(tmp_path: Path) -> None:
    store(prepared(tmp_path, "10s"), 10)
    play = prepared(tmp_path, "8s")
    play = replace(play, options=replace(play.options, ops=frozenset({"get"})))
    assert list(window_warnings(play)) == []
