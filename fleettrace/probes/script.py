"""A bpftrace program of the user's own: what its header says, and the words that it may leave to fleettrace.

The file is bpftrace's language. A comment in it names the map that holds the counts, and may name a second one:

    COUNTS: @slow      requests by key: `@slow[${key}] = count();`
    BYTES: @written    bytes by key: `@written[${key}] = sum(...);`

and these words are filled in for each binary of a host:

    ${exe}           the binary, as in `uprobe:${exe}:malloc`
    ${point:NAME}    a function of it that fleettrace finds even in a stripped binary, at its cheapest instruction;
                     `${point:NAME|OTHER}` takes the first of several that is there
    ${return:NAME}   the same for a `uretprobe`
    ${pids}          for a probe's filter: whether the process is one of those traced, and the window is open
    ${key}           which process and which key: `$key` (its address) and `$length` must be set before

The window, its end, the clean-up and the bounds of output are fleettrace's.
"""

from __future__ import annotations

import re
from pathlib import Path

from fleettrace.binary.analysis import WANTED
from fleettrace.errors import ConfigError
from fleettrace.probes.model import Script

__all__ = ["alternatives", "fill", "has_own_points", "probe_count", "read_script"]

MAX_SCRIPT = 1 << 16
"""Bytes of the longest program taken: it travels in an argument, of which Linux takes 128 KiB (MAX_ARG_STRLEN)."""
_COMMENT = re.compile(r"/\*.*?\*/|^[ \t]*//[^\n]*", re.DOTALL | re.MULTILINE)
_DECLARED = re.compile(r"^[ \t*/]*(COUNTS|BYTES):[ \t]*@([A-Za-z_]\w*)", re.MULTILINE)
_WORD = re.compile(r"\$\{([^}\n]*)\}")
_POINT = re.compile(r"(?:point|return):\w+(?:\|\w+)*")
_PLAIN = ("exe", "pids", "key")
_OWN_POINT = re.compile(r"\b(?:u(?:ret)?probe|u(?:r)?|usdt|U):(?!\$\{exe\}:\$\{(?:point|return):)")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_OWN_MAP = re.compile(r"@(\w*)")


def read_script(path: Path) -> Script:
    """The program in a file. Raises `ConfigError` naming file and line when it is none, or says nothing of its maps."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--script {path}: {error.strerror}") from None
    if len(data) > MAX_SCRIPT or b"\0" in data:
        raise ConfigError(f"--script {path}: expected a bpftrace program, a text of at most {MAX_SCRIPT} bytes")
    text = data.decode("utf-8", "replace")
    declared = {found[1]: found[2] for comment in _COMMENT.findall(text) for found in _DECLARED.finditer(comment)}
    if "COUNTS" not in declared:
        raise ConfigError(f"--script {path}: no comment in it says `COUNTS: @map`, which map holds requests by key")
    body = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    points: list[str] = []
    for found in _WORD.finditer(body):
        _check_word(found[1], f"--script {path}:{body.count(chr(10), 0, found.start()) + 1}")
        if found[1] not in _PLAIN:
            points.append(found[1])
    for word, name in declared.items():
        if not re.search(rf"@{name}\[\$\{{key\}}\]", body):
            raise ConfigError(
                f"--script {path}: nothing fills @{name}[${{key}}], though its {word} are said to be there"
            )
    if "${pids}" not in body:
        raise ConfigError(
            f"--script {path}: no `/${{pids}}/` in it: a probe fires for every process and must be filtered"
        )
    return Script(
        path.name, body.strip() + "\n", declared["COUNTS"], declared.get("BYTES"), tuple(dict.fromkeys(points))
    )


def _check_word(word: str, where: str) -> None:
    if word in _PLAIN:
        return
    if not _POINT.fullmatch(word):
        raise ConfigError(f"{where}: ${{{word}}} is no word: expected ${{exe}}, ${{pids}}, ${{key}} or ${{point:NAME}}")
    for name in alternatives(word):
        if name not in WANTED:
            raise ConfigError(f"{where}: fleettrace does not look for `{name}`, only for {', '.join(WANTED)}")


def alternatives(point: str) -> list[str]:
    """The functions that a `point:...` or `return:...` names, the best first."""
    return point.partition(":")[2].split("|")


def fill(script: Script, words: dict[str, str]) -> str:
    """The program's text with its words replaced and its maps named apart from fleettrace's own. `words` has `sizes`
    too, which has to stand before `key` is used.

    The map of the counts becomes @c and that of the bytes @u, which are printed at the end.
    """
    renamed = {script.counts: "c", script.bytes: "u"}

    def rename(found: re.Match[str]) -> str:
        return f"@{renamed.get(found[1], f'own_{found[1]}')}"

    parts = _STRING.split(script.text)
    strings = _STRING.findall(script.text)
    text = parts[0] and _OWN_MAP.sub(rename, parts[0])
    for string, part in zip(strings, parts[1:], strict=True):
        text += string + _OWN_MAP.sub(rename, part)
    # The sizes of a key's strings are worked out before the statement that uses them.
    text = re.sub(r"@[cu]\[\$\{key\}\]", lambda found: f"${{sizes}} {found[0]}", text)
    return _WORD.sub(lambda found: words[found[1]], text)


def has_own_points(script: Script) -> bool:
    """Return whether it names places in a process's code that fleettrace does not choose and cannot check."""
    return _OWN_POINT.search(_STRING.sub('""', script.text)) is not None


def probe_count(script: Script) -> int | None:
    """How many probes the program has; None where wildcards leave that to the node."""
    text = _STRING.sub('""', script.text)
    depth, head, probes = 0, "", 0
    for part in re.split(r"([{}])", _WORD.sub("word", text)):
        if part == "{":
            if depth == 0:
                if "*" in head.partition("/")[0]:
                    return None
                probes += _heads(head)
            depth, head = depth + 1, ""
        elif part == "}":
            depth, head = depth - 1, ""
        elif depth == 0:
            head += part
    return probes


def _heads(head: str) -> int:
    """How many probes stand before a block: `a, b /filter/`. A path in a probe's name has slashes and no blanks."""
    names = re.sub(r"\s/.*/\s*$", "", f" {head.strip()} ", flags=re.DOTALL)
    return len([name for name in names.split(",") if name.strip()])
