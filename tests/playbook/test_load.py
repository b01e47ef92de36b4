"""Load playbooks: includes, tags, outputs, and all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.playbook.findings import Severity
from fleettrace.playbook.model import Play, chosen
from fleettrace.yaml_reader.tree import Location
from tests.playbook.reading import plays, problems

COMPLETE = """\
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


def test_play_has_all_its_values(tmp_path: Path) -> None:
    [play] = plays(tmp_path, COMPLETE)
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


def test_include_passes_variables_and_tags(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/pool.yaml").write_text("- {name: '{{ pool }}', hosts: '{{ pool }}', tags: [x]}\n")
    text = "".join(f"- {{include: in/pool.yaml, vars: {{pool: {pool}}}, tags: {pool}}}\n" for pool in ("a", "b"))
    assert [(play.title, sorted(play.tags)) for play in plays(tmp_path, text)] == [
        ("playbook/a", ["a", "x"]),
        ("playbook/b", ["b", "x"]),
    ]


def test_include_expands_its_file_name(tmp_path: Path) -> None:
    (tmp_path / "east.yaml").write_text("- {name: a, hosts: all}\n")
    assert plays(tmp_path, "- include: '{{ region }}.yaml'\n", "region=east")[0].name == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: found no value: expected a list of plays (- name: ...)"),
        ("[]", "1:1: found an empty list"),
        ("- play", "1:3: 'play' is a string: expected a play: a mapping with the keys name, hosts"),
        ("- {name: a, hosts: all, sweep: []}", "1:32: found a list: expected a sweep: a mapping with the keys"),
        ("- {name: a, hosts: all, sweep: {limit: }}", "1:40: found no value: expected PATTERN|@FILE"),
        ("- {name: a, hosts: all, vars: {1a: 2}}", "1:32: '1a' is not a name: expected letters"),
        ("- {name: a, hosts: all, vars: {a: {b: 1}}}", "1:35: found a mapping: expected a string"),
        ("- {name: '', hosts: all}", "1:10: '' is not a name: expected up to 100 characters on one line"),
        ('- {name: "a\\nb", hosts: all}', "1:10: 'a\\nb' is not a name"),
        ("- {name: a, hosts: ''}", "1:20: the host pattern is empty: expected 'all'"),
        ("- {name: a, hosts: all, sweep: {name: x, resume: r}}", "1:42: `resume` does not belong here: expected"),
        ("- {name: a, hosts: all, include: x.yaml}", "1:25: `include` does not belong here: expected"),
        (
            "- {include: x.yaml, host: all}",
            "1:21: unknown key 'host' in an include: expected one of include, vars, tags",
        ),
        ("- {name: a, hosts: all, notify: {on: every}}", "1:33: an entry of `notify` without a target: expected one"),
        ("- {name: a, hosts: all, notify: {mail: [a@b], stamp: x}}", "1:47: 'mail' and 'stamp' in one entry"),
        ("- {name: a, hosts: all, notify: {webhook: nowhere}}", "1:43: invalid webhook URL: expected http://"),
        ("- {name: a, hosts: all, notify: {stamp: x, retries: 2}}", "1:44: unknown key 'retries' in an entry"),
        ("- {name: a, hosts: all, rules: [key.share > 5% and key.shre > 1]}", "1:52: there is no field key.shre"),
        ("- {name: a, hosts: all, rules: {when: key.share > 5%, message: '{key.shre}'}}", "1:66: there is no field"),
        (
            '- {name: a, hosts: all, vars: {x: 5}, rules: ["key.shre > {{ x }}%"]}',
            "1:47: there is no field key.shre; did you mean key.share? (in column 1 of 'key.shre > 5%')",
        ),
        (
            "- {name: a, hosts: all, outputs: [{format: json}, {format: csv}]}",
            "1:60: stdout is used by the output at {file}:1:44",
        ),
    ],
)
def test_problem_has_location_and_message(tmp_path: Path, text: str, message: str) -> None:
    [problem] = problems(tmp_path, text)
    assert problem.startswith(message.replace("{file}", f"{tmp_path}/playbook.yaml"))


def test_all_problems_in_order_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {name: x, host: all}\n")
    text = "- include: a.yaml\n"
    text += "- {name: y, hosts: all, sweep: {top: many, misses: 1}}\n- {name: y, hosts: all, tag: x}\n"
    locations = [problem.partition(": ")[0] for problem in problems(tmp_path, text)]
    assert locations == ["2:38", "2:52", "3:25", f"{tmp_path}/a.yaml:1:13"]


def test_number_of_included_files_is_bounded(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.yaml").write_text(f"- include: {number + 1}.yaml\n" * 2)
    (tmp_path / "12.yaml").write_text("- {name: a, hosts: all}\n")
    lines = problems(tmp_path, "- include: 0.yaml\n")
    assert any("expected at most 200" in line for line in lines)


def test_two_plays_cannot_write_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {name: '{{ n }}', hosts: all, outputs: {format: json, file: x}}\n")
    text = "- {include: a.yaml, vars: {n: 1}}\n- {include: a.yaml, vars: {n: 2}}\n"
    assert "'x' is written by the output at" in problems(tmp_path, text)[0]


@pytest.mark.parametrize(
    ("tags", "selected", "skipped", "runs"),
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
def test_tags_select_as_in_ansible(tags: str, selected: str, skipped: str, runs: bool) -> None:
    play = Play("p", "n", "all", Location("f", 1, 1), tags=frozenset(tags.split()))
    assert chosen(play, selected.split(), skipped.split()) is runs


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as directory:
        try:
            text.encode()
        except UnicodeEncodeError:
            return
        problems(Path(directory), text)
