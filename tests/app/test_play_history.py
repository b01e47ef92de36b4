"""A history that cannot be reached fails a play that needs it, and the play still ends with a notice."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleettrace.app.play.run import run_play
from fleettrace.app.play.windows import window_warnings
from fleettrace.errors import ConfigError
from fleettrace.summary.run import RunResult
from tests.app.test_play_windows import prepared
from tests.report.examples import new_run

UNREACHABLE = "x" * 300
"""A name that the kernel refuses (ENAMETOOLONG), also for root."""


def test_unreachable_history_fails_the_play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    def traced(
        _: object, __: object, write: Callable[[RunResult, Sequence[re.Pattern[bytes]]], None], **___: Any
    ) -> RunResult:
        run = new_run("all")
        write(run, ())
        return run

    monkeypatch.setattr("fleettrace.app.play.run.trace", traced)
    play = prepared(tmp_path, "10s")
    play = replace(play, options=replace(play.options, store=str(tmp_path / UNREACHABLE)))
    assert run_play(play, lambda _: None, lambda _: None) == 2
    notice = capsys.readouterr().out
    assert "failed with exit code 2; no run to compare with: " in notice
    assert "cannot open the history: File name too long" in notice


def test_unreachable_history_is_refused_before_a_run(tmp_path: Path) -> None:
    play = prepared(tmp_path, "10s")
    play = replace(play, options=replace(play.options, store=str(tmp_path / UNREACHABLE)))
    with pytest.raises(ConfigError, match="cannot open the history: File name too long"):
        list(window_warnings(play))
