"""Read a bpftrace program of the user's own (`--script`) and fill in its variables.

A comment in the file names the map of counts, and may name a second map:

    COUNTS: @slow      requests by key: `@slow[${key}] = count();`
    BYTES: @written    bytes by key: `@written[${key}] = sum(...);`

fleettrace fills in these variables for each binary of a host:

    ${exe}           the binary, as in `uprobe:${exe}:malloc`
    ${point:NAME}    a function that fleettrace finds even in a stripped binary, probed at its cheapest instruction;
                     `${point:NAME|OTHER}` takes the first of several that the binary has
    ${return:NAME}   the same for a `uretprobe`
    ${pids}          a condition for a probe's filter: the process is traced, and the window is open
    ${key}           the process and the key; the program must set `$key` (its address) and `$length` before

fleettrace adds the window, its end, the clean-up and the bounds of output.
"""

from __future__ import annotations

import re
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.probes.model import Script

__all__ = ["alternatives", "fill", "has_own_attach_points", "probe_count", "read_script"]

MAX_SCRIPT = 1 << 16
"""Bytes of the longest accepted program: it is sent as an argument, which Linux limits to 128 KiB (MAX_ARG_STRLEN)."""
_COMMENT = re.compile(r"/\*.*?\*/|^[ \t]*//[^\n]*", re.DOTALL | re.MULTILINE)
_DECLARED = re.compile(r"^[ \t*/]*(COUNTS|BYTES):[ \t]*@([A-Za-z_]\w*)", re.MULTILINE)
_WORD = re.compile(r"\$\{([^}\n]*)\}")
_ATTACH_POINT = re.compile(r"(?:point|return):\w+(?:\|\w+)*")
_PLAIN = ("exe", "pids", "key")
_OWN_ATTACH_POINT = re.compile(r"\b(?:u(?:ret)?probe|u(?:r)?|usdt|U):(?!\$\{exe\}:\$\{(?:point|return):)")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_OWN_MAP = re.compile(r"@(\w*)")


def read_script(path: Path) -> Script:
    """Read the program in a file.

    Raises `ConfigError` with file and line for an unreadable or unsuitable program.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--script {path}: {error.strerror}") from None
    if len(data) > MAX_SCRIPT or b"\0" in data:
        raise ConfigError(f"--script {path}: not a bpftrace program: expected a text of at most {MAX_SCRIPT} bytes")
    text = data.decode("utf-8", "replace")
    declared = {found[1]: found[2] for comment in _COMMENT.findall(text) for found in _DECLARED.finditer(comment)}
    if "COUNTS" not in declared:
        raise ConfigError(f"--script {path}: no comment names the map of requests by key: add `// COUNTS: @map`")
    body = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    attach_points: list[str] = []
    for found in _WORD.finditer(body):
        _check_variable(found[1], f"--script {path}:{body.count(chr(10), 0, found.start()) + 1}")
        if found[1] not in _PLAIN:
            attach_points.append(found[1])
    for word, name in declared.items():
        if not re.search(rf"@{name}\[\$\{{key\}}\]", body):
            raise ConfigError(
                f"--script {path}: the comment {word} names @{name}, but no statement fills @{name}[${{key}}]"
            )
    if "${pids}" not in body:
        raise ConfigError(
            f"--script {path}: no probe has the filter `/${{pids}}/`: without it a probe fires for every process"
        )
    return Script(
        path.name,
        body.strip() + "\n",
        declared["COUNTS"],
        declared.get("BYTES"),
        tuple(dict.fromkeys(attach_points)),
    )


def _check_variable(word: str, where: str) -> None:
    if word in _PLAIN:
        return
    if not _ATTACH_POINT.fullmatch(word):
        raise ConfigError(
            f"{where}: unknown variable ${{{word}}}: expected ${{exe}}, ${{pids}}, ${{key}} or ${{point:NAME}}"
        )
    from fleettrace.binary.analysis import PROBED_FUNCTIONS

    for name in alternatives(word):
        if name not in PROBED_FUNCTIONS:
            raise ConfigError(f"{where}: unknown function `{name}`: expected one of {', '.join(PROBED_FUNCTIONS)}")


def alternatives(attach_point: str) -> list[str]:
    """Return the functions that a `point:...` or `return:...` names, the best first."""
    return attach_point.partition(":")[2].split("|")


def fill(script: Script, values: dict[str, str]) -> str:
    """Return the program's text with its variables filled in and its maps renamed apart from fleettrace's own.

    `values` also has `sizes`, the statements that must precede a use of `key`. The map of counts becomes @c and that of
    bytes @u, which fleettrace prints at the end.
    """
    renamed = {script.counts: "c", script.bytes: "u"}

    def rename(found: re.Match[str]) -> str:
        return f"@{renamed.get(found[1], f'own_{found[1]}')}"

    parts = _STRING.split(script.text)
    strings = _STRING.findall(script.text)
    text = parts[0] and _OWN_MAP.sub(rename, parts[0])
    for string, part in zip(strings, parts[1:], strict=True):
        text += string + _OWN_MAP.sub(rename, part)
    # The statements that set the lengths of a key's strings precede the one that uses them.
    text = re.sub(r"@[cu]\[\$\{key\}\]", lambda found: f"${{sizes}} {found[0]}", text)
    return _WORD.sub(lambda found: values[found[1]], text)


def has_own_attach_points(script: Script) -> bool:
    """Return whether the program has attach points in a process's code that fleettrace cannot check."""
    return _OWN_ATTACH_POINT.search(_STRING.sub('""', script.text)) is not None


def probe_count(script: Script) -> int | None:
    """Return the number of the program's probes; None where only the node can expand a wildcard."""
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
    """Return the number of probes before a block: `a, b /filter/`. A path in a probe's name has slashes, no blanks."""
    names = re.sub(r"\s/.*/\s*$", "", f" {head.strip()} ", flags=re.DOTALL)
    return len([name for name in names.split(",") if name.strip()])
