"""Files become plays: includes, tags, outputs, and everything that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.playbook.findings import Severity
from fleettrace.playbook.model import Play, chosen
from fleettrace.yaml_reader.tree import Location
from tests.playbook.reading import plays, problems

WHOLE = """\
- name: hourly
  hosts: cache:!canary
  vars: {hot: 5%}
  sweep:
    duration: 10s
    serial: [1, 10%]
    misses: true
    sizes: false
    redact: true
    template: ['a:(.*)', 'b:(.*)']
  rules:
    - key.share > {{ hot }}
    - {when: host.load > 3 x mean, severity: high, name: load}
  outputs: {format: json, file: a.json}
  notify: {command: [cat, -n], on: every}
  keep: [90d, 1G]
  tags: a, b
"""


def test_a_play_is_read_with_everything_that_it_says(tmp_path: Path) -> None:
    [play] = plays(tmp_path, WHOLE)
    assert (play.playbook, play.name, play.title, play.hosts) == (
        "playbook",
        "hourly",
        "playbook/hourly",
        "cache:!canary",
    )
    assert play.sweep == {
        "duration": "10s",
        "serial": "1,10%",
        "misses": True,
        "sizes": False,
        "redact": "hash",
        "template": ["a:(.*)", "b:(.*)"],
    }
    assert [(rule.when, rule.severity, rule.name) for rule in play.rules] == [
        ("key.share > 5%", Severity.MEDIUM, "key.share > 5%"),
        ("host.load > 3 x mean", Severity.HIGH, "load"),
    ]
    assert [(output.format, output.file) for output in play.outputs] == [("json", "a.json")]
    assert [(target.name, target.on) for target in play.notify] == [("command cat", "every")]
    assert (play.keep, sorted(play.tags)) == ("90d,1G", ["a", "b"])
    assert play.where("hosts") == Location(f"{tmp_path}/playbook.yaml", 2, 10)


def test_an_include_gives_its_plays_variables_and_tags(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/pool.yaml").write_text("- {name: '{{ pool }}', hosts: '{{ pool }}', tags: [x]}\n")
    text = "".join(f"- {{include: in/pool.yaml, vars: {{pool: {pool}}}, tags: {pool}}}\n" for pool in ("a", "b"))
    assert [(play.title, sorted(play.tags)) for play in plays(tmp_path, text)] == [
        ("playbook/a", ["a", "x"]),
        ("playbook/b", ["b", "x"]),
    ]


def test_the_name_of_an_included_file_may_have_variables(tmp_path: Path) -> None:
    (tmp_path / "east.yaml").write_text("- {name: a, hosts: all}\n")
    assert plays(tmp_path, "- include: '{{ region }}.yaml'\n", "region=east")[0].name == "a"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1:1: here is nothing; expected a list of plays: - name: ..."),
        ("[]", "1:1: here is an empty list"),
        ("- play", "1:3: 'play' is a text; expected a play: a mapping with the keys name, hosts"),
        ("- {name: a, hosts: all, sweep: []}", "1:32: here is a list; expected a sweep: a mapping with the keys"),
        ("- {name: a, hosts: all, sweep: {limit: }}", "1:40: here is nothing; expected PATTERN|@FILE"),
        ("- {name: a, hosts: all, vars: {1a: 2}}", "1:32: '1a' is no name; expected letters"),
        ("- {name: a, hosts: all, vars: {a: {b: 1}}}", "1:35: here is a mapping; expected a text"),
        ("- {name: '', hosts: all}", "1:10: '' is no name; expected up to 100 characters on one line"),
        ('- {name: "a\\nb", hosts: all}', "1:10: 'a\\nb' is no name"),
        ("- {name: a, hosts: ''}", "1:20: the host pattern is empty; expected 'all'"),
        ("- {name: a, hosts: all, sweep: {name: x, resume: r}}", "1:42: `resume` does not belong here; expected"),
        ("- {name: a, hosts: all, include: x.yaml}", "1:25: `include` does not belong here; expected"),
        (
            "- {include: x.yaml, host: all}",
            "1:21: unknown key 'host' in an include; expected one of include, vars, tags",
        ),
        ("- {name: a, hosts: all, notify: {on: every}}", "1:33: an entry of `notify` that names nobody; expected one"),
        ("- {name: a, hosts: all, notify: {mail: [a@b], stamp: x}}", "1:47: 'mail' and 'stamp' in one entry"),
        ("- {name: a, hosts: all, notify: {webhook: nowhere}}", "1:43: a webhook's url begins with"),
        ("- {name: a, hosts: all, notify: {stamp: x, retries: 2}}", "1:44: unknown key 'retries' in an entry"),
        ("- {name: a, hosts: all, rules: [key.share > 5% and key.shre > 1]}", "1:52: there is no field key.shre"),
        ("- {name: a, hosts: all, rules: {when: key.share > 5%, message: '{key.shre}'}}", "1:66: there is no field"),
        (
            '- {name: a, hosts: all, vars: {x: 5}, rules: ["key.shre > {{ x }}%"]}',
            "1:47: there is no field key.shre; did you mean key.share? (in column 1 of 'key.shre > 5%')",
        ),
        (
            "- {name: a, hosts: all, outputs: [{format: json}, {format: csv}]}",
            "1:60: stdout is taken by the output at {file}:1:44 already",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    [problem] = problems(tmp_path, text)
    assert problem.startswith(told.replace("{file}", f"{tmp_path}/playbook.yaml"))


def test_everything_is_told_at_once_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {name: x, host: all}\n")
    text = "- include: a.yaml\n"
    text += "- {name: y, hosts: all, sweep: {top: many, misses: 1}}\n- {name: y, hosts: all, tag: x}\n"
    locations = [problem.partition(": ")[0] for problem in problems(tmp_path, text)]
    assert locations == ["2:38", "2:52", "3:25", f"{tmp_path}/a.yaml:1:13"]


def test_files_that_include_ever_more_files_come_to_an_end(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.yaml").write_text(f"- include: {number + 1}.yaml\n" * 2)
    (tmp_path / "12.yaml").write_text("- {name: a, hosts: all}\n")
    told = problems(tmp_path, "- include: 0.yaml\n")
    assert any("more than 200 files" in line for line in told)


def test_the_same_file_is_not_written_by_two_plays(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {name: '{{ n }}', hosts: all, outputs: {format: json, file: x}}\n")
    text = "- {include: a.yaml, vars: {n: 1}}\n- {include: a.yaml, vars: {n: 2}}\n"
    assert "'x' is written by the output at" in problems(tmp_path, text)[0]


@pytest.mark.parametrize(
    ("tags", "wanted", "skipped", "runs"),
    [
        ("", "", "", True),
        ("a", "", "", True),
        ("a b", "b c", "", True),
        ("a", "b", "", False),
        ("a b", "a", "b", False),
        ("", "a", "", False),
        ("", "all", "", True),
        ("always", "a", "", True),
        ("always", "a", "always", False),
        ("never a", "", "", False),
        ("never a", "all", "", False),
        ("never a", "a", "", True),
    ],
)
def test_tags_choose_as_with_ansible(tags: str, wanted: str, skipped: str, runs: bool) -> None:
    play = Play("p", "n", "all", Location("f", 1, 1), tags=frozenset(tags.split()))
    assert chosen(play, wanted.split(), skipped.split()) is runs


@given(st.text(max_size=200))
def test_no_text_at_all_brings_the_reader_down(text: str) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        try:
            text.encode()
        except UnicodeEncodeError:
            return
        problems(Path(folder), text)
