"""The precedence of variables: an example of each step, checked against Ansible."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.inventory import load_inventory
from tests.inventory.oracle import Ansible


@pytest.mark.parametrize(
    ("inventory", "files", "expected"),
    [
        ("all: {vars: {v: all}, children: {g: {vars: {v: group}, hosts: {h: }}}}", {}, "group"),
        ("g: {vars: {v: group}, hosts: {h: {v: host}}}", {}, "host"),
        ("p: {vars: {v: parent}, children: {c: {vars: {v: child}, hosts: {h: }}}}", {}, "child"),
        ("a: {vars: {v: a}, hosts: {h: }}\nb: {vars: {v: b}, hosts: {h: }}", {}, "b"),
        ("a: {vars: {v: a, ansible_group_priority: 10}, hosts: {h: }}\nb: {vars: {v: b}, hosts: {h: }}", {}, "a"),
        (
            (
                "z: {vars: {v: z, ansible_group_priority: 10}, hosts: {h: }}\n"
                "p: {children: {a: {vars: {v: deeper}, hosts: {h: }}}}"
            ),
            {},
            "deeper",
        ),
        ("g: {vars: {v: first}, hosts: {h: }}\np: {children: {g: {vars: {v: again}}}}", {}, "again"),
        ("g: {hosts: {h: {v: first}}}\ng2: {hosts: {h: {v: again}}}", {}, "again"),
        ("g: {hosts: {'h:22': {ansible_port: 23}}, vars: {v: group}}", {}, "group"),
        ("g: {vars: {v: group}, hosts: {h: }}", {"group_vars/all.yml": "v: all-file"}, "all-file"),
        ("g: {hosts: {h: }}", {"group_vars/all.yml": "v: all-file", "group_vars/g.yml": "v: group-file"}, "group-file"),
        ("g: {hosts: {h: {v: host}}}", {"group_vars/g.yml": "v: group-file"}, "host"),
        ("g: {hosts: {h: {v: host}}}", {"host_vars/h.json": '{"v": "host-file"}'}, "host-file"),
        ("g: {hosts: {h: }}", {"host_vars/h/1.yml": "v: one", "host_vars/h/2": "v: two"}, "two"),
        ("g: {hosts: {h: }}", {"host_vars/h.yml": "v: yml", "host_vars/h.yaml": "v: yaml"}, "yml"),
        ("g: {hosts: {h: }}", {"host_vars/h.yml": "v: file", "host_vars/h/a.yml": "v: directory"}, "directory"),
        ("a: {vars: {v: {x: 1}}, hosts: {h: }}\nb: {vars: {v: {y: 2}}, hosts: {h: }}", {}, {"y": 2}),
    ],
)
def test_precedence_is_ansibles(tmp_path: Path, inventory: str, files: dict[str, str], expected: object) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(inventory)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    host = load_inventory([str(path)]).hosts["h"]
    assert host.variables["v"] == expected
    assert dict(host.variables) == Ansible(path).variables("h")
