"""Random inventories and patterns with few names, so that groups overlap, nest and collide."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["host_lists", "ini_texts", "inventories", "limits", "patterns"]


def _words(text: str) -> list[str]:
    return text.split()


_HOSTS = _words("web1 web2 db1 db2 cache-01 localhost 10.0.0.1 10.0.0.2 w[1:3] w[01:02]:2222 x.y:22")
_GROUPS = _words("web db east west prod w cache all ungrouped")
_VALUES = st.sampled_from([1, "two", None, True, [3], {"four": 4}])
_VARIABLES = st.dictionaries(st.sampled_from(["a", "b", "c"]), _VALUES, max_size=3)


@st.composite
def _group(draw: st.DrawFn, below: list[str], depth: int) -> dict[str, Any] | None:
    """Draw one group. Its children come after it in `_GROUPS`, so that no group is below itself."""
    content: dict[str, Any] = {}
    for part in draw(st.permutations(["hosts", "vars", "children"])):
        if part == "hosts":
            hosts = draw(st.lists(st.sampled_from(_HOSTS), max_size=3, unique=True))
            content[part] = {host: draw(st.one_of(st.none(), _VARIABLES)) for host in hosts}
        elif part == "vars":
            content[part] = draw(_VARIABLES)
            if draw(st.booleans()):
                content[part]["ansible_group_priority"] = draw(st.integers(0, 3))
        elif depth and below:
            names = draw(st.lists(st.sampled_from(below), max_size=2, unique=True))
            content[part] = {name: draw(_group(below[below.index(name) + 1 :], depth - 1)) for name in names}
    return content if draw(st.integers(0, 5)) else None


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the content of one YAML inventory file."""
    top = draw(st.lists(st.sampled_from(_GROUPS), min_size=1, max_size=4, unique=True))
    found = {}
    for name in top:
        below = _GROUPS[:7] if name == "all" else [] if name == "ungrouped" else _GROUPS[_GROUPS.index(name) + 1 : 7]
        found[name] = draw(_group(below, 3))
    return found


_INI_VALUES = st.sampled_from(
    (
        *("1", "01", "1.5", "True", "no", "None", "a", "'a b'", '"a b"', "''", "[1]", "{'k': 1}", "x#y", "a=b", "-1"),
        *("'a' # c", "1e3", "0x10", "(1,)", "'it\\'s'", '"a\\"b"', "é", "!vault", "a,b", "/x y", "1_0", "b'x'"),
        "{{ b }}",
    )
)
_INI_ASSIGNMENTS = st.builds("{}{}{}".format, st.sampled_from(["a", "b", "c"]), st.sampled_from(["="]), _INI_VALUES)
_INI_HOSTS = st.builds(
    lambda host, words, tail: " ".join([host, *words]) + tail,
    st.sampled_from([*_HOSTS, "db-[a:c]", "'quoted'", "w[3:1]", "[x", "h,i", "2001:db8::1", "[::1]:22", "~x", "a/b"]),
    st.lists(_INI_ASSIGNMENTS, max_size=2),
    st.sampled_from(["", "", "", " # note", "  ", "#x", " ;x", " word", "\u00a0c=1", " c=\u20031"]),
)
_INI_NAMES = st.sampled_from(["web", "db", "east", "all", "ungrouped", "w-x", "cache-01"])
_INI_SECTIONS = st.one_of(
    st.builds("[{}]{}".format, _INI_NAMES, st.sampled_from(["", "", " ", " # c", "x"])),
    st.builds("[{}:vars]".format, _INI_NAMES),
    st.builds("[{}:children]".format, _INI_NAMES),
    st.sampled_from(["[", "[]", "[web:", "[web:hosts]", "[web:vars:x]", "[:vars]", "[a b]"]),
)
_INI_SETTINGS = st.builds(
    "{}{}{}".format, st.sampled_from(["a", "b", "c d"]), st.sampled_from(["=", " = ", " =", ":"]), _INI_VALUES
)


@st.composite
def ini_texts(draw: st.DrawFn) -> str:
    """Draw the text of an INI inventory, mostly a valid one."""
    lines = draw(st.lists(_INI_HOSTS, max_size=3))
    for section in draw(st.lists(_INI_SECTIONS, max_size=5)):
        lines.append(section)
        kind = section.partition(":")[2].rstrip("]")
        inside = {"vars": _INI_SETTINGS, "children": _INI_NAMES}.get(kind, _INI_HOSTS)
        rare = st.sampled_from(["", "# note", "; note", "x"])
        lines += draw(st.lists(inside if draw(st.integers(0, 9)) else rare, max_size=3))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


def host_lists() -> st.SearchStrategy[str]:
    """Return a strategy for host lists, which have a comma."""
    names = "web1 db2:22 10.0.0.1 2001:db8::1 [::1]:22 w[1:3] w[03:05]:2200 h[a:c] localhost - ~x"
    return st.lists(st.sampled_from([*_words(names), " padded ", "", "a b"]), min_size=1, max_size=5).map(
        lambda hosts: ",".join([*hosts, ""])
    )


_WORDS = st.sampled_from(
    _words(
        "web1 db2 cache-01 web db east prod all ungrouped nothing localhost 127.0.0.1 ::1 w* *1 * a* ?b* [dw]* web[12] "
        "cache-0[!2] w[1:3] 10.0.0.* 10.0.0.1 x.y x.y:22 ~^w ~.*1$ ~(web|db)1 ~db[0] ~ ~( *.*"
    )
)
_SUBSCRIPTS = st.sampled_from(
    ["", "", "", "", "[0]", "[-1]", "[0:1]", "[1:]", "[2]", "[1-2]", "[2:0]", "[-5]", "[0:9]"]
)
_PARTS = st.builds(
    lambda sign, word, subscript: sign + word + subscript, st.sampled_from(["", "", "&", "!"]), _WORDS, _SUBSCRIPTS
)


def patterns() -> st.SearchStrategy[str]:
    """Return a strategy for host patterns, most of them well-formed."""
    return st.builds(
        lambda parts, joint: joint.join(parts), st.lists(_PARTS, min_size=1, max_size=4), st.sampled_from(",:")
    )


def limits() -> st.SearchStrategy[str | None]:
    """Return a strategy for limits: None, or a pattern."""
    return st.one_of(st.none(), patterns())
