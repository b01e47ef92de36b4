"""`{{ name }}` is put in: as it is where it stands alone, as text inside a text, and never evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.playbook.problems import Problems
from fleettrace.playbook.variables import VariableScope
from fleettrace.yaml_reader.tree import NodeKind, read_tree
from tests.playbook.reading import plays, problems

PLAY = "- name: a\n  hosts: all\n"


def sweep(folder: Path, text: str, *extra: str) -> dict[str, object]:
    [play] = plays(folder, PLAY + text, *extra)
    return dict(play.sweep)


def test_a_variable_alone_is_its_value(tmp_path: Path) -> None:
    text = "  vars: {n: 7, on: true, kinds: [get, set]}\n"
    text += "  sweep: {top: '{{ n }}', misses: '{{on}}', ops: '{{ kinds }}'}\n"
    assert sweep(tmp_path, text) == {"top": "7", "misses": True, "ops": "get,set"}


def test_inside_a_text_it_is_text(tmp_path: Path) -> None:
    text = "  vars: {n: 7, unit: s}\n  sweep: {duration: '{{ n }}{{ unit }}', log: '/x/{{n}}/{{ n }}.log'}\n"
    assert sweep(tmp_path, text) == {"duration": "7s", "log": "/x/7/7.log"}


def test_the_user_wins_over_the_include_and_that_over_the_play(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("- name: a\n  hosts: '{{ h }}'\n  vars: {h: inner}\n")
    include = "- include: inner.yaml\n  vars: {h: outer}\n"
    assert plays(tmp_path, "- include: inner.yaml\n")[0].hosts == "inner"
    assert plays(tmp_path, include)[0].hosts == "outer"
    assert plays(tmp_path, include, "h=user")[0].hosts == "user"


def test_variables_may_be_made_of_others(tmp_path: Path) -> None:
    text = "  vars: {a: '{{ b }}0', b: '{{ c }}', c: 3}\n  sweep: {top: '{{ a }}'}\n"
    assert sweep(tmp_path, text) == {"top": "30"}
    assert sweep(tmp_path, text, "c=4") == {"top": "40"}


def test_what_the_user_gives_is_not_templated(tmp_path: Path) -> None:
    text = "  vars: {file: x, n: 1}\n  sweep: {log: '{{ file }}'}\n"
    assert sweep(tmp_path, text, "file={{ n }}") == {"log": "{{ n }}"}


def test_a_file_and_a_mapping_give_variables_and_the_last_word_wins(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("n: 5\nother: 1\n")
    text = "  vars: {n: 1}\n  sweep: {top: '{{ n }}'}\n"
    more = f"@{tmp_path}/more.yaml"
    assert sweep(tmp_path, text, more) == {"top": "5"}
    assert sweep(tmp_path, text, more, "{n: 6}") == {"top": "6"}
    assert sweep(tmp_path, text, "n=7", more) == {"top": "5"}


def test_unsafe_braces_are_only_braces(tmp_path: Path) -> None:
    assert sweep(tmp_path, "  sweep: {template: !unsafe 'a{{2}}'}\n") == {"template": ["a{{2}}"]}


def test_the_folder_of_the_playbook_is_known(tmp_path: Path) -> None:
    assert sweep(tmp_path, "  sweep: {log: '{{ playbook_dir }}/log'}\n") == {"log": f"{tmp_path}/log"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x{{ nn }}", "the variable 'nn' is not defined; did you mean 'n'?"),
        ("{{ far }}", "the variable 'far' is not defined; expected it in `vars`, or -e far=VALUE"),
        ("{{ n.real }}", "{{ n.real }} is no variable"),
        ("{{ }}", "is no variable"),
        ("{{ n", "'{{' without its '}}'"),
        ("x{{ list }}", "the variable 'list' is a list, which cannot stand inside a text"),
        ("{{ list }}", "here is a list"),
    ],
)
def test_what_cannot_be_put_in_is_said(tmp_path: Path, value: str, told: str) -> None:
    text = f"{PLAY}  vars: {{n: 1, list: [1]}}\n  sweep:\n    log: '{value}'\n"
    [problem] = problems(tmp_path, text)
    column = 10 if "here is" in told else 11 + value.index("{{")
    assert problem.startswith(f"5:{column}: ")
    assert told in problem


def test_what_unfolds_without_end_is_refused() -> None:
    doubling = {"v0": "x" * 50} | {f"v{n}": f"{{{{ v{n - 1} }}}}{{{{ v{n - 1} }}}}" for n in range(1, 60)}
    lists = {"w0": "[x, x]"} | {f"w{n}": f"['{{{{ w{n - 1} }}}}', '{{{{ w{n - 1} }}}}']" for n in range(1, 60)}
    text = "".join(f"{name}: '{value}'\n" for name, value in doubling.items())
    text += "".join(f"{name}: {value}\n" for name, value in lists.items())
    found = Problems()
    scope = VariableScope({key.text: value for key, value in read_tree(text, "f").entries}, found)
    assert scope.fill(read_tree("'{{ v59 }}'", "f")).kind is NodeKind.BROKEN
    scope.fill(read_tree("'{{ w59 }}'", "f"))
    assert found
