"""Stored runs, and the commands that show them: `history`, `diff`, `report RUN`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fleettrace.app.history import is_run_file, redaction_mark, store_run
from fleettrace.app.options import RunOptions
from fleettrace.app.redaction import Redaction
from fleettrace.cli.main import main
from fleettrace.report.redact import Redact
from fleettrace.store.history.database import History
from fleettrace.store.history.model import stored_run
from fleettrace.store.history.retention import Retention
from tests.report.examples import realistic
from tests.store.diff_traffic import random_fleet, window

IDS = ("20260921T030000Z-aaaaaa", "20260921T040000Z-bbbbbb", "20260921T050000Z-cccccc")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A history of three runs; in the last one a key has tripled and a host is missing."""
    rng = random.Random(7)
    fleet = random_fleet(rng, keys=60, rate=5e4)
    fleet = replace(fleet, hosts=4, places=tuple(n % 4 for n in range(60)), bursts=(0.0,) * 60, printed=10_000)
    path = tmp_path / "history.db"
    with History.open(path, create=True) as history:
        for hours, name in enumerate(IDS):
            last = name == IDS[-1]
            run = window(
                fleet,
                rng,
                name=name,
                after=timedelta(hours=hours),
                times={5: 3.0} if last else {},
                failed=[3] if last else [],
            )
            history.add(run)
    return path


@pytest.fixture
def command(store: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on the history; gives its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--store", str(store)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def options(store: Path) -> RunOptions:
    return RunOptions(store=str(store), keep=Retention())


def fail(message: str) -> None:
    raise AssertionError(message)


def test_history_lists_runs_newest_last(command: Command) -> None:
    code, out, _ = command("history")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["run", *IDS]
    assert "3/4" in out.splitlines()[-1]
    assert len(command("history", "--last", "2")[1].splitlines()) == 3


def test_history_as_json(command: Command) -> None:
    runs = json.loads(command("history", "--output", "json")[1])["runs"]
    assert [(run["run"], run["hosts_ok"]) for run in runs] == [(IDS[0], 4), (IDS[1], 4), (IDS[2], 3)]
    assert runs[0]["hottest"]["key"] == "user:0:profile"
    assert runs[0]["started"] == "2026-09-21T03:00:00.000Z"


def test_timelines_of_a_key_and_a_host(command: Command) -> None:
    timeline = json.loads(command("history", "--key", "user:5:profile", "--output", "json")[1])["timeline"]
    assert timeline[2]["rate"] > 2 * timeline[1]["rate"] and timeline[0]["rank"] == 6
    timeline = json.loads(command("history", "--host", "cache-3", "--output", "json")[1])["timeline"]
    assert [point["state"] for point in timeline] == ["ok", "ok", "unreachable"]
    assert timeline[2]["requests"] is None
    assert "unreachable" in command("history", "--host", "cache-3")[1]


def test_impossible_history_query_is_refused(command: Command, tmp_path: Path) -> None:
    assert command("history", "--host", "nobody")[::2][0] == 2
    assert "leave one out" in command("history", "--host", "a", "--key", "b")[2]
    assert main(["history", "--store", str(tmp_path / "none.db")]) == 2


def test_diff_without_changes_is_one_line(command: Command) -> None:
    code, out, _ = command("diff", "last~2", "last~1", "--exit-code")
    assert (code, out.count("\n")) == (0, 1)
    assert out.startswith(f"no change between {IDS[0]} and {IDS[1]} beyond bounds and noise: 4 hosts")


def test_diff_reports_changes_and_hosts_left_out(command: Command) -> None:
    code, out, _ = command("diff")
    assert code == 0
    assert "not compared: cache-3 (unreachable after)" in out
    (line,) = [line for line in out.splitlines() if "user:5:profile" in line]
    assert line.split()[0] == "risen" and "x" in line
    assert command("diff", "--exit-code")[0] == 1


def test_diff_as_json(command: Command) -> None:
    document = json.loads(command("diff", "--output", "json")[1])
    assert document["schema"] == "fleettrace/diff/1"
    assert document["not_compared"] == [{"host": "cache-3", "why": "unreachable after"}]
    change = next(each for each in document["changes"] if each["subject"] == "key")
    assert (change["key"], change["change"]) == ("user:5:profile", "risen")
    assert change["ratio_min"] < 3 < change["ratio_max"] and change["chance"] < 0.002


def test_bare_diff_compares_runs_of_equal_options(store: Path, command: Command) -> None:
    assert json.loads(command("diff", "--output", "json")[1])["before"]["run"] == IDS[1]
    rng = random.Random(1)
    fleet = replace(random_fleet(rng, keys=9), hosts=4, places=(0,) * 9)
    with History.open(store) as history:
        for days, name in ((2, "w"), (3, "x"), (4, "y")):
            run = window(fleet, rng, name=name, after=timedelta(days=days))
            options = replace(run.info, options='{"ops": ["set"]}') if name == "w" else run.info
            history.add(replace(run, info=replace(options, pattern="web") if name == "x" else options))
    assert json.loads(command("diff", "--output", "json")[1])["before"]["run"] == IDS[2]
    with History.open(store) as history:
        lonely = window(fleet, rng, name="z", after=timedelta(days=5))
        history.add(replace(lonely, info=replace(lonely.info, pattern="db")))
    code, _, words = command("diff")
    assert code == 2 and "no run before z is comparable: y differs in the host pattern" in words


def test_diff_of_incomparable_runs_exits_4(store: Path, command: Command) -> None:
    rng = random.Random(1)
    with History.open(store, create=True) as history:
        fleet = replace(random_fleet(rng, keys=9), hosts=4, places=(0,) * 9)
        history.add(window(fleet, rng, failed=range(4), name="dead", after=timedelta(days=2)))
    code, out, _ = command("diff", "last~1", "last")
    assert code == 4 and out.startswith("nothing to compare")


def test_report_from_history_has_the_runs_totals(store: Path, command: Command) -> None:
    run = realistic(8)
    store_run(options(store), run, (), Redaction(), fail)
    code, out, _ = command("report", run.info.id[:13], "--output", "json", "--top", "3")
    report = json.loads(out)
    assert code == 0 and len(report["keys"]) == 3
    assert report["totals"]["requests"] == run.fleet.total
    assert [row["template"] for row in report["templates"]][:1] != []


def test_unknown_run_name_is_refused(command: Command) -> None:
    code, _, err = command("report", "nothing")
    assert code == 2 and "no stored run and no file has the name 'nothing'" in err
    assert command("diff", "./none.run", "last")[0] == 2


def test_last_is_never_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("last", "last~1", "a.run"):
        (tmp_path / name).touch()
    assert [is_run_file(name) for name in ("last", "last~1", "a.run", "b.run", "x/b.run")] == [
        *(False, False, True, False, True)
    ]


def test_redacted_run_is_stored_redacted(store: Path) -> None:
    redaction = Redaction(Redact.HASH, b"0123456789abcdef")
    seen, patterns = redaction.apply(realistic(4))
    store_run(options(store), seen, patterns, redaction, fail)
    with History.open(store) as history:
        kept = history.load(seen.info.id)
    assert kept.redaction == redaction_mark(redaction) != redaction_mark(Redaction(Redact.HASH, b"0123456789abcdeF"))
    assert not any(b"profile" in each.key.data for each in kept.keys)
    content = b"".join(path.read_bytes() for path in store.parent.glob("history.db*"))
    assert b"user:1:profile" in content  # of the other runs; this one's names must not be there
    assert b"pod1:rails" not in content and b"config:feature-flags" not in content


def test_no_store_creates_no_history(tmp_path: Path) -> None:
    store = tmp_path / "history.db"
    store_run(replace(options(store), no_store=True), realistic(4), (), Redaction(), fail)
    assert not store.exists()


def test_unwritable_history_is_a_warning(tmp_path: Path) -> None:
    store = tmp_path / "history.db"
    store.write_text("something else")
    warnings: list[str] = []
    store_run(options(store), realistic(4), (), Redaction(), warnings.append)
    assert len(warnings) == 1 and warnings[0].startswith(f"the run is not stored: {store}: ")
    assert store.read_text() == "something else"


def test_hostile_names_are_escaped(store: Path, command: Command) -> None:
    rng = random.Random(3)
    fleet = replace(random_fleet(rng, keys=5, rate=5e4), names=(b"\x1b[31mred", b"a\nb", b"|x", b"\xff", b"=1"))
    fleet = replace(fleet, bursts=(0.0,) * 5, swing=0.0)
    with History.open(store, create=True) as history:
        history.add(window(fleet, rng, name="x\x1b[2J", after=timedelta(days=3)))
        history.add(window(fleet, rng, name="y\n", after=timedelta(days=4), times={0: 0.2, 1: 5.0}))
    for arguments in (["history"], ["diff"], ["history", "--key", "a\\nb"]):
        out = command(*arguments)[1]
        assert "\x1b" not in out and all(line.isprintable() for line in out.splitlines())
    assert "a\\nb" in command("diff")[1]


def test_key_of_at_most_no_request_has_no_share(tmp_path: Path, command: Command) -> None:
    store = tmp_path / "other.db"
    fleet = replace(random_fleet(random.Random(2), keys=9, rate=5e4), bursts=(0.0,) * 9, swing=0.0)
    with History.open(store, create=True) as history:
        history.add(window(fleet, random.Random(1), name="x"))
    code, out, _ = command("history", "--store", str(store), "--key", "absent")
    assert (code, out.splitlines()[1].split()[-4:]) == (0, ["-", "0", "0.00%", "0"])


def test_user_families_are_stored(store: Path) -> None:
    import re

    run = realistic(4)
    store_run(options(store), run, (re.compile(rb"config:(.*)"),), Redaction(), fail)
    with History.open(store) as history:
        kept = history.load(run.info.id)
    family = next(each for each in kept.templates if each.template == "config:{}")
    assert sum(family.timeline) == family.requests == family.hottest
    assert stored_run(run).keys == kept.keys


def test_unknown_play_names_the_known_ones(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--store", str(store), "--playbook", "nope"]) == 2
    assert "no run of --playbook nope is stored: no play has stored one yet" in capsys.readouterr().err
    with History.open(store) as history:
        for play in ("nightly/web", "nightly/all"):
            history.add(replace(history.load(IDS[0]), playbook=play))
    assert main(["history", "--store", str(store), "--playbook", "nightly"]) == 2
    assert "expected one of nightly/all" in capsys.readouterr().err
    assert main(["history", "--store", str(store), "--playbook", "nightly/all"]) == 0
