"""Read ssh_config where no `ssh` is installed that could be asked.

It reads the common part of the language, and refuses a line of which it is not certain: a wrong guess would log in to
another machine.
"""

from __future__ import annotations

import fnmatch
import getpass
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleettrace.errors import ConfigError
from fleettrace.transport.ssh_errors import unreadable_config

__all__ = ["SYSTEM_CONFIG", "include_directory", "read_answer"]

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_INCLUDE_DEPTH = 16  # READCONF_MAX_DEPTH of OpenSSH's readconf.h
_MANY = frozenset({"identityfile", "certificatefile"})
_LISTS = frozenset({"userknownhostsfile", "globalknownhostsfile"})
_SINGLE = frozenset(
    (
        *("hostname", "user", "port", "identitiesonly", "identityagent", "hashknownhosts", "hostkeyalias"),
        *("proxyjump", "proxycommand", "stricthostkeychecking"),
    )
)
# Keywords that change neither the target nor how it is trusted.
_HARMLESS = re.compile(
    r"(sendenv|setenv|serveralive\w+|tcpkeepalive|control\w+|compression|loglevel|forward\w+|exitonforwardfailure|"
    r"gssapi\w+|addkeystoagent|batchmode|connectionattempts|connecttimeout|requesttty|visualhostkey|updatehostkeys|"
    r"checkhostip|ipqos|rekeylimit|xauthlocation|escapechar|passwordauthentication|pubkeyauthentication|"
    r"kbdinteractiveauthentication|challengeresponseauthentication|numberofpasswordprompts|preferredauthentications|"
    r"fingerprinthash|permitlocalcommand|clearallforwardings|localforward|remoteforward|dynamicforward)"
)


def include_directory(file: Path) -> Path:
    """Return where relative names of an `Include` start, as ssh_config(5) has it."""
    return SYSTEM_CONFIG.parent if file == SYSTEM_CONFIG else Path("~/.ssh").expanduser()


def read_answer(
    host: str, user: str | None, port: int | None, arguments: Sequence[str], files: Sequence[Path]
) -> dict[str, tuple[str, ...]]:
    """Return the values that apply to `host`, as `ssh -G` would print them. Raises `ConfigError` with file and line."""
    found: dict[str, tuple[str, ...]] = {}
    for keyword, value, where in _options(arguments):
        _add(found, keyword, value, where)
    if port is not None:
        found.setdefault("port", (str(port),))
    if user is not None:
        found.setdefault("user", (user,))
    for file in files:
        # What stands before the first Host of a file holds for every host.
        applies = True
        for keyword, value, where in _lines(file, include_directory(file), 0):
            if keyword == "host":
                applies = _matches(host, value, where)
            elif applies:
                _add(found, keyword, value, where)
    name = found.get("hostname", (host,))[0].replace("%%", "\0").replace("%h", host).replace("\0", "%")
    return {**found, "host": (host,), "hostname": (name.lower(),), "user": found.get("user", (getpass.getuser(),))}


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    flags = {"-J": "proxyjump", "-i": "identityfile", "-p": "port", "-l": "user"}
    rest = iter(arguments)
    for flag in rest:
        if flag in flags:
            yield flags[flag], next(rest), flag
        elif flag == "-o":
            keyword, value = _split(next(rest))
            yield keyword, value, "-o"
        elif flag not in ("-C", "-A", "-a", "-X", "-x", "-Y", "-y", "-K", "-k"):
            raise ConfigError(f"the option {flag} for ssh needs OpenSSH's client: install openssh-client")


def _lines(path: Path, directory: Path, depth: int) -> Iterator[tuple[str, str, str]]:
    """Yield keyword, value and place of each line, with included files in place of each `Include`."""
    if depth > _INCLUDE_DEPTH:
        raise ConfigError("Include is nested too deeply", file=path)
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise unreadable_config(error) from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        keyword, value = _split(line)
        where = f"{path}:{number}"
        if keyword == "include":
            for pattern in _words(value, where):
                found = directory / Path(pattern).expanduser()
                for each in sorted(Path(found.anchor).glob(str(found.relative_to(found.anchor)))):
                    yield from _lines(each, directory, depth + 1)
        else:
            yield keyword, value, where


def _split(line: str) -> tuple[str, str]:
    keyword, _, value = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
    return keyword.lower(), value.strip()


def _words(value: str, where: str) -> list[str]:
    try:
        return shlex.split(value, comments=True)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}: correct it") from None


def _matches(host: str, value: str, where: str) -> bool:
    patterns = _words(value, where)
    if any(fnmatch.fnmatchcase(host, each[1:].replace("[", "[[]")) for each in patterns if each.startswith("!")):
        return False
    return any(fnmatch.fnmatchcase(host, each.replace("[", "[[]")) for each in patterns if not each.startswith("!"))


def _add(found: dict[str, tuple[str, ...]], keyword: str, value: str, where: str) -> None:
    if keyword in ("proxycommand", "proxyjump") and ("proxycommand" in found or "proxyjump" in found):
        return
    if keyword == "proxycommand":
        found[keyword] = (value,)
        return
    words = _words(value, where)
    if keyword in _MANY and len(words) == 1:
        found[keyword] = (*found.get(keyword, ()), words[0])
    elif keyword in _LISTS and words:
        found.setdefault(keyword, (" ".join(words),))
    elif keyword in _SINGLE and len(words) == 1:
        found.setdefault(keyword, (words[0],))
    elif not _HARMLESS.fullmatch(keyword):
        raise ConfigError(
            f"{where}: {keyword} needs OpenSSH's own client, which is not installed here: install openssh-client"
        )
