"""`{{ name }}` expands to a value where it stands alone, to text inside a string, and is never evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.playbook.problems import Problems
from fleettrace.playbook.variables import VariableScope
from fleettrace.yaml_reader.tree import NodeKind, read_tree
from tests.playbook.reading import plays, problems

PLAY = "- name: a\n  hosts: all\n"


def sweep(directory: Path, text: str, *extra: str) -> dict[str, object]:
    [play] = plays(directory, PLAY + text, *extra)
    return dict(play.sweep)


def test_lone_variable_keeps_its_type(tmp_path: Path) -> None:
    text = "  vars: {n: 7, on: true, kinds: [get, set]}\n"
    text += "  sweep: {top: '{{ n }}', misses: '{{on}}', ops: '{{ kinds }}'}\n"
    assert sweep(tmp_path, text) == {"top": "7", "misses": True, "ops": "get,set"}


def test_variable_inside_a_string_is_text(tmp_path: Path) -> None:
    text = "  vars: {n: 7, unit: s}\n  sweep: {duration: '{{ n }}{{ unit }}', log: '/x/{{n}}/{{ n }}.log'}\n"
    assert sweep(tmp_path, text) == {"duration": "7s", "log": "/x/7/7.log"}


def test_precedence_user_include_play(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("- name: a\n  hosts: '{{ h }}'\n  vars: {h: inner}\n")
    include = "- include: inner.yaml\n  vars: {h: outer}\n"
    assert plays(tmp_path, "- include: inner.yaml\n")[0].hosts == "inner"
    assert plays(tmp_path, include)[0].hosts == "outer"
    assert plays(tmp_path, include, "h=user")[0].hosts == "user"


def test_variables_expand_other_variables(tmp_path: Path) -> None:
    text = "  vars: {a: '{{ b }}0', b: '{{ c }}', c: 3}\n  sweep: {top: '{{ a }}'}\n"
    assert sweep(tmp_path, text) == {"top": "30"}
    assert sweep(tmp_path, text, "c=4") == {"top": "40"}


def test_command_line_values_are_not_expanded(tmp_path: Path) -> None:
    text = "  vars: {file: x, n: 1}\n  sweep: {log: '{{ file }}'}\n"
    assert sweep(tmp_path, text, "file={{ n }}") == {"log": "{{ n }}"}


def test_last_extra_variable_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("n: 5\nother: 1\n")
    text = "  vars: {n: 1}\n  sweep: {top: '{{ n }}'}\n"
    more = f"@{tmp_path}/more.yaml"
    assert sweep(tmp_path, text, more) == {"top": "5"}
    assert sweep(tmp_path, text, more, "{n: 6}") == {"top": "6"}
    assert sweep(tmp_path, text, "n=7", more) == {"top": "5"}


def test_unsafe_strings_are_not_expanded(tmp_path: Path) -> None:
    assert sweep(tmp_path, "  sweep: {template: !unsafe 'a{{2}}'}\n") == {"template": ["a{{2}}"]}


def test_playbook_dir_is_the_directory_of_the_file(tmp_path: Path) -> None:
    assert sweep(tmp_path, "  sweep: {log: '{{ playbook_dir }}/log'}\n") == {"log": f"{tmp_path}/log"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x{{ nn }}", "the variable 'nn' is not defined; did you mean 'n'?"),
        ("{{ far }}", "the variable 'far' is not defined: expected it in `vars` or in -e far=VALUE"),
        ("{{ n.real }}", "{{ n.real }} is not a variable"),
        ("{{ }}", "is not a variable"),
        ("{{ n", "'{{' without '}}'"),
        ("x{{ list }}", "the variable 'list' is a list: expected a string or a number"),
        ("{{ list }}", "found a list"),
    ],
)
def test_invalid_expansion_is_a_problem(tmp_path: Path, value: str, message: str) -> None:
    text = f"{PLAY}  vars: {{n: 1, list: [1]}}\n  sweep:\n    log: '{value}'\n"
    [problem] = problems(tmp_path, text)
    column = 10 if "found" in message else 11 + value.index("{{")
    assert problem.startswith(f"5:{column}: ")
    assert message in problem


def test_exponential_expansion_is_bounded() -> None:
    doubling = {"v0": "x" * 50} | {f"v{n}": f"{{{{ v{n - 1} }}}}{{{{ v{n - 1} }}}}" for n in range(1, 60)}
    lists = {"w0": "[x, x]"} | {f"w{n}": f"['{{{{ w{n - 1} }}}}', '{{{{ w{n - 1} }}}}']" for n in range(1, 60)}
    text = "".join(f"{name}: '{value}'\n" for name, value in doubling.items())
    text += "".join(f"{name}: {value}\n" for name, value in lists.items())
    found = Problems()
    scope = VariableScope({key.text: value for key, value in read_tree(text, "f").entries}, found)
    assert scope.fill(read_tree("'{{ v59 }}'", "f")).kind is NodeKind.INVALID
    scope.fill(read_tree("'{{ w59 }}'", "f"))
    assert found
