"""Templates in the variables that fleettrace reads come to what Ansible makes of them, or to an error that is clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.inventory.load import load_inventory
from fleettrace.inventory.resolver import Resolver
from tests.inventory.oracle import Ansible

VARIABLES = """\
[all:vars]
domain=example.net
number=7
text=Cache-007
words=['b', 'a', 'b']
table={'x': 1, 'y': {'z': 2}}
yes_text=yes
nothing=
b64=aGVsbG8=
nested={{ inner }}
inner={{ domain }}/{{ number }}
[gw]
gw1 ansible_host=192.0.2.5
[web]
web1 own=1
web2
"""

EXPRESSIONS = (
    "{{ inventory_hostname }}.{{ domain }}",
    "{{ inventory_hostname_short }}",
    "{{ group_names | join('-') }}",
    "{{ groups['web'] | length }}",
    "{{ groups['web'] | join(',') }}",
    "{{ groups.gw[0] }}",
    "{{ hostvars['gw1'].ansible_host }}",
    "{{ hostvars[groups['gw'][0]]['ansible_host'] }}",
    "{{ number }}",
    "{{ number + 1 }}",
    "{{ 2200 + number | int }}",
    "{{ 2200 + (text | regex_replace('\\D', '') | int) }}",
    "{{ 2200 + (text | regex_replace('\\\\D', '') | int) }}",
    "{{ text | lower }}",
    "{{ text | upper | replace('CACHE', 'C') }}",
    "{{ text.split('-')[1] }}",
    "{{ text.split('-') | last }}",
    "{{ text | regex_search('[0-9]+') }}",
    "{{ text | regex_findall('[a-z]') }}",
    "{{ text | regex_replace('^(.).*$', '\\1x') }}",
    "{{ text | regex_replace('^(.).*$', '\\\\1x') }}",
    "{% set t = 'a\\tb' %}{{ t }}",
    "{{ text | b64encode }}",
    "{{ b64 | b64decode }}",
    "{{ '/a/b/c.d' | basename }}",
    "{{ '/a/b/c.d' | dirname }}",
    "{{ words | unique | sort | join(' ') }}",
    "{{ words | union(['z']) | sort }}",
    "{{ words | difference(['a']) }}",
    "{{ words | intersect(['a', 'q']) }}",
    "{{ [words, ['c']] | flatten }}",
    "{{ table.y.z }}",
    "{{ table | combine({'x': 5}) }}",
    "{{ table | combine({'y': {'w': 1}}, recursive=True) }}",
    "{{ table | to_json }}",
    "{{ '{\"a\": [1]}' | from_json }}",
    "{{ table | dict2items | map(attribute='key') | join }}",
    "{{ yes_text | bool }}",
    "{{ (number > 3) | ternary('big', 'small') }}",
    "{{ missing | default('none') }}",
    "{{ nothing | default('empty', true) }}",
    "{{ missing.deep | default(3) }}",
    "{{ own is defined }}",
    "{{ own | default(omit) }}",
    "{{ 'web' in group_names }}",
    "{% if 'web' in group_names %}w{% else %}o{% endif %}",
    "{% for name in groups['web'] %}{{ name }};{% endfor %}",
    "{{ nested }}",
    "{{ [1, 2] + [3] }}",
    "{{ {'a': number} }}",
    "{{ 'true' }}",
    "{{ '07' }}",
    "{{ 3.5 }}",
    "{{ none }}",
    "a {{ number }}",
    "{{ lookup('env', 'FLEET_PROBE') }}",
    "{{ lookup('ansible.builtin.env', 'FLEET_PROBE', default='d') }}",
    "{{ lookup('env', 'NO_SUCH_VARIABLE_HERE') | default('ops', true) }}",
    "{{ lookup('pipe', 'echo piped') }}",
    "{{ lookup('file', FILE) }}",
    "{{ query('env', 'FLEET_PROBE') }}",
    "{{ text is match('cache') }}",
    "{{ text is search('007') }}",
    "{{ words is contains('a') }}",
    "{{ inventory_dir | basename | length > 0 }}",
    "{{ inventory_file | basename }}",
    "{{ 'x' | hash('sha256') }}",
    "{{ 'it''s' | quote }}",
    "{{ [1, 2, 3] | sum }}",
    "{{ words | map('upper') | list }}",
    "{{ words | select('equalto', 'b') | list | length }}",
    "{{ '%03d' | format(number) }}",
    "{{ number | string + 'x' }}",
)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_template_comes_to_ansibles_value(tmp_path: Path, expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_PROBE", "probe value")
    (tmp_path / "file").write_text("first line\n")
    (tmp_path / "hosts").write_text(VARIABLES)
    (tmp_path / "group_vars").mkdir()
    quoted = expression.replace("FILE", f"'{tmp_path}/file'").replace("'", "''")
    (tmp_path / "group_vars/all.yml").write_text(f"probe: '{quoted}'\n")
    inventory = load_inventory([str(tmp_path / "hosts")])
    ansible = Ansible(tmp_path / "hosts")
    for name in ("web1", "gw1"):
        theirs = ansible.evaluated(name, ["probe"]).get("probe")
        assert repr(Resolver(inventory).value(inventory.hosts[name], "probe")) == repr(theirs)


@pytest.mark.parametrize(
    ("expression", "cause"),
    [
        ("{{ no_such }}", "no_such"),
        ("{{ 1 | no_filter }}", "no_filter"),
        ("{{ lookup('redis', 'x') }}", "redis"),
        ("{{ 1 | mandatory_of_theirs", "mandatory_of_theirs|expected|unexpected"),
        ("{{ self_reference }}", "refers to itself"),
        ("{{ ''.__class__.__mro__ }}", "unsafe|not allowed|__class__"),
        ("{{ lookup('file', '/no/such/file') }}", "/no/such/file"),
        ("{{ lookup('pipe', 'exit 3') }}", "3"),
        ("{{ 'x' * 1000000000 }}", "more than 1,048,576 items"),
        ("{{ range(10000000000) | list }}", "range"),
    ],
)
def test_error_names_host_file_and_cause(tmp_path: Path, expression: str, cause: str) -> None:
    quoted = expression.replace("'", "''")
    (tmp_path / "inventory.yml").write_text(
        f"all:\n  hosts:\n    h1:\n      self_reference: '{{{{ probe }}}}'\n      probe: '{quoted}'\n"
    )
    inventory = load_inventory([str(tmp_path / "inventory.yml")])
    with pytest.raises(ConfigError, match=cause) as caught:
        Resolver(inventory).value(inventory.hosts["h1"], "probe")
    assert f"{tmp_path}/inventory.yml:" in str(caught.value)
    assert "h1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_result_of_a_lookup_is_not_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_PROBE", "{{ 6 * 7 }}")
    (tmp_path / "hosts").write_text("h1 probe=\"{{ lookup('env', 'FLEET_PROBE') }}\"\n")
    inventory = load_inventory([str(tmp_path / "hosts")])
    assert Resolver(inventory).value(inventory.hosts["h1"], "probe") == "{{ 6 * 7 }}"


def test_value_that_no_one_uses_is_not_evaluated(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "hosts").write_text(f"h1 other=\"{{{{ lookup('pipe', 'touch {mark}') }}}}\" probe=1\n")
    inventory = load_inventory([str(tmp_path / "hosts")])
    assert Resolver(inventory).value(inventory.hosts["h1"], "probe") == 1
    assert not mark.exists()
