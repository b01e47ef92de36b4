"""The pages of error codes, inventory variables, the JSON report, playbook keys and rule fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.generate.inventory_variables import VARIABLES
from docs.generate.markdown import code, page, table
from fleettrace.error_codes import BASTION_PREFIX, Area, error_codes
from fleettrace.playbook.rules.fields import FIELDS

__all__ = ["pages"]

Schema = Mapping[str, Any]

_AREAS = {
    Area.REACH: "Reaching the host",
    Area.LOGIN: "Keys and passwords",
    Area.HOST_KEY: "Host keys",
    Area.BASTION: "Jump hosts",
    Area.SHELL: "Login shell and sudo",
    Area.NODE: "What the host lacks",
    Area.BINARY: "memcached's executable",
    Area.TRACE: "The trace",
    Area.DETACH: "Detached traces",
    Area.NUMBERS: "What bounds the counts",
    Area.RUN: "The run and the controller",
}
_ERRORS = f"""\
A code is a stable word for scripts. It is the `code` of `error` and of `warnings` in the [JSON report](report-json.md)
and of the events of `--log`. The message beside it names the host, file or process. A login to a jump host that fails
has the code of the same failure of a host, with `{BASTION_PREFIX}` in front: `{BASTION_PREFIX}auth-failed`."""
_INVENTORY = """\
fleettrace reads these variables of a host, wherever the inventory sets them (host, group, `group_vars/`, `host_vars/`).
Where a variable has several names, Ansible's own order decides. Any other variable may hold anything; an unknown name
that begins with `fleettrace_` is an error, for it is a typing mistake."""
_JSON = """\
What `--output json` writes. Fields are only ever added. `null` means "not known" and is never 0. Times are RFC 3339 in
UTC. [report-1.json](../schema/report-1.json) is the same as a JSON Schema. `[]` stands for each element of a list."""
_PLAYBOOK = """\
What `fleettrace play` reads. [playbook-1.json](../schema/playbook-1.json) is the same as a JSON Schema for editors;
`fleettrace play --syntax-check FILE` checks more than a schema can. [Playbooks](../playbooks.md) explains the whole.
`[]` stands for each element of a list."""
_FIELDS = """\
The fields that a rule can compare, by the subject that they belong to. [Rules](../rules.md) explains the language
and the units. Fields of `totals` may be written without `totals.` in front."""


def pages(root: Path) -> dict[str, str]:
    """Return each page by its name."""
    report = json.loads((root / "docs/schema/report-1.json").read_text())
    playbook = json.loads((root / "docs/schema/playbook-1.json").read_text())
    return {
        "errors.md": page("Error codes", "`fleettrace/error_codes.toml`", _ERRORS, *_error_tables()),
        "inventory.md": page("Inventory variables", "`fleettrace/inventory/`", _INVENTORY, *_variables()),
        "report-json.md": page("The JSON report", "`docs/schema/report-1.json`", _JSON, *_report(report)),
        "playbook.md": page("Playbook keys", "`docs/schema/playbook-1.json`", _PLAYBOOK, *_playbook(playbook)),
        "rule-fields.md": page("Fields of rules", "`fleettrace/playbook/rules/fields.py`", _FIELDS, *_rule_fields()),
    }


def _error_tables() -> Iterator[str]:
    for area, title in _AREAS.items():
        rows = [(code(one.code), one.meaning, one.cure) for one in error_codes().values() if one.area is area]
        yield f"## {title}\n\n{table(('code', 'meaning', 'cure'), rows)}"


def _variables() -> Iterator[str]:
    for title, variables in VARIABLES.items():
        rows = [(", ".join(map(code, each.names)), each.text) for each in variables]
        yield f"## {title}\n\n{table(('variable', 'meaning'), rows)}"


def _rule_fields() -> Iterator[str]:
    titles = {"key": "Keys", "template": "Families of keys", "host": "Hosts", "totals": "The whole run"}
    for prefix, title in titles.items():
        rows = [
            (code(name), ", ".join(field.units), field.description + _words(field.words))
            for name, field in FIELDS.items()
            if name.startswith(f"{prefix}.")
        ]
        yield f"## {title}\n\n{table(('field', 'written as', 'meaning'), rows)}"


def _words(words: tuple[str, ...]) -> str:
    return f": {', '.join(map(code, words))}" if words else ""


def _report(schema: Schema) -> Iterator[str]:
    for name, part in schema["properties"].items():
        rows = list(_fields(part, name, schema))
        yield f"## {name}\n\n{table(('field', 'type', 'meaning'), rows)}"


def _fields(part: Schema, path: str, schema: Schema) -> Iterator[tuple[str, str, str]]:
    """Yield a row for a field and for each field inside it."""
    resolved = _resolved(part, schema)
    yield code(path), _type(resolved, schema), _description(part, schema)
    yield from _inside(resolved, path, schema)


def _description(part: Schema, schema: Schema) -> str:
    """Return the field's own description, else that of what it refers to."""
    others = (_resolved(part, schema), *(_resolved(one, schema) for one in part.get("anyOf", ())))
    found = (each["description"] for each in (part, *others) if "description" in each)
    return next(found, "")


def _inside(part: Schema, path: str, schema: Schema) -> Iterator[tuple[str, str, str]]:
    for each in (part, *(_resolved(one, schema) for one in part.get("anyOf", ()))):
        for name, inner in each.get("properties", {}).items():
            yield from _fields(inner, f"{path}.{name}", schema)
        if isinstance(each.get("items"), dict):
            yield from _inside(_resolved(each["items"], schema), f"{path}[]", schema)


def _resolved(part: Schema, schema: Schema) -> Schema:
    name = part.get("$ref", "").removeprefix("#/$defs/")
    return schema["$defs"][name] if name else part


def _type(part: Schema, schema: Schema) -> str:
    if "const" in part:
        return code(str(part["const"]))
    if "enum" in part:
        return " or ".join("null" if word is None else code(str(word)) for word in part["enum"])
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_type(_resolved(one, schema), schema) for one in part["anyOf"]))
    types = part.get("type", "any")
    names = [types] if isinstance(types, str) else list(types)
    inner = part.get("items")
    if "array" in names and isinstance(inner, dict):
        names[names.index("array")] = f"list of {_type(_resolved(inner, schema), schema)}"
    return " or ".join(names)


def _playbook(schema: Schema) -> Iterator[str]:
    play, include = schema["items"]["else"], schema["items"]["then"]
    sweep = play["properties"]["sweep"]["properties"]
    yield f"## A play\n\n{_keys(play, skip={'sweep'})}"
    rows = [(code(name), part.get("description", "")) for name, part in sweep.items()]
    yield f"## sweep\n\nThe options of `fleettrace run`, by their long names.\n\n{table(('key', 'meaning'), rows)}"
    yield f"## An include\n\n{_keys(include)}"


def _keys(mapping: Schema, skip: frozenset[str] | set[str] = frozenset()) -> str:
    rows = dict.fromkeys(
        row for name, part in mapping["properties"].items() for row in _key_rows(part, name, mapping, skip)
    )
    return table(("key", "required", "meaning"), rows)


def _key_rows(
    part: Schema, path: str, owner: Schema, skip: frozenset[str] | set[str], required: str = "yes"
) -> Iterator[tuple[str, ...]]:
    name = path.rpartition(".")[2].removesuffix("[]")
    yield code(path), required if name in owner.get("required", ()) else "", part.get("description", "")
    if name not in skip:
        yield from _inner_keys(part, path, skip)


def _inner_keys(
    part: Schema, path: str, skip: frozenset[str] | set[str], required: str = "yes"
) -> Iterator[tuple[str, ...]]:
    for name, inner in part.get("properties", {}).items():
        yield from _key_rows(inner, f"{path}.{name}", part, skip, required)
    if isinstance(part.get("items"), dict):
        yield from _inner_keys(part["items"], path if path.endswith("[]") else f"{path}[]", skip)
    alternatives = part.get("anyOf", ())
    lists = [one for one in alternatives if isinstance(one.get("items"), dict)]
    mappings = sum("properties" in one for one in alternatives)
    for each in lists or alternatives:
        yield from _inner_keys(each, path, skip, "one of these" if mappings > 1 else "yes")
