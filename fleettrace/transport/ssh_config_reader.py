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
from glob import glob
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
        _add(found, keyword, _checked(keyword, value, where))
    if port is not None:
        found.setdefault("port", (str(port),))
    if user is not None:
        found.setdefault("user", (user,))
    for file in files:
        _read(file, include_directory(file), host, found)
    if found.get("proxyjump", ("none",))[0].split(",")[0].rpartition("@")[2].partition(":")[0] == host:
        raise ConfigError(f"the ssh_config of {host} has a ProxyJump to {host} itself: correct it")
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


def _read(
    path: Path, directory: Path, host: str, found: dict[str, tuple[str, ...]], depth: int = 0, *, applies: bool = True
) -> None:
    """Add what a file has for `host`. What stands before its first Host belongs to the block that includes it.

    Every line is checked, and in a block for other hosts nothing applies.
    """
    if depth > _INCLUDE_DEPTH:
        raise ConfigError("Include is nested too deeply: does the file include itself?", file=path)
    try:
        text = path.read_text(errors="surrogateescape")
    except OSError as error:
        raise unreadable_config(error) from None
    never = not applies
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        keyword, value = _split(line)
        where = f"{path}:{number}"
        if keyword == "host":
            applies = _matches(host, value, where) and not never
        elif keyword == "include":
            for pattern in _words(value, where):
                # As glob(3), and unlike Path.glob, it leaves out dotfiles that the pattern does not name.
                for name in sorted(glob(str(directory / Path(pattern).expanduser()))):  # noqa: PTH207
                    _read(Path(name), directory, host, found, depth + 1, applies=applies)
        else:
            words = _checked(keyword, value, where)
            if applies:
                _add(found, keyword, words)


def _split(line: str) -> tuple[str, str]:
    keyword, _, value = re.sub(r"\s*=\s*|\s+", " ", line.strip(), count=1).partition(" ")
    return keyword.lower(), value.strip()


def _words(value: str, where: str) -> list[str]:
    try:
        words = shlex.split(value, comments=True)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}: correct it") from None
    if not words:
        raise ConfigError(f"{where}: a value is missing: correct it")
    return words


def _matches(host: str, value: str, where: str) -> bool:
    patterns = _words(value, where)
    if any(fnmatch.fnmatchcase(host, each[1:].replace("[", "[[]")) for each in patterns if each.startswith("!")):
        return False
    return any(fnmatch.fnmatchcase(host, each.replace("[", "[[]")) for each in patterns if not each.startswith("!"))


def _checked(keyword: str, value: str, where: str) -> tuple[str, ...]:
    """Return the values of a line. Raises `ConfigError` for one that only OpenSSH understands."""
    if keyword == "proxycommand" and value:
        return (value,)
    words = tuple(_words(value, where))
    if keyword == "port" and not (words[0].isascii() and words[0].isdigit()):
        raise ConfigError(f"{where}: {words[0]!r} is not a port: correct it")
    if (keyword in _MANY or keyword in _SINGLE) and len(words) > 1:
        raise ConfigError(f"{where}: {keyword} takes one value: correct it")
    if not (keyword in _MANY or keyword in _SINGLE or keyword in _LISTS or _HARMLESS.fullmatch(keyword)):
        raise ConfigError(
            f"{where}: {keyword} needs OpenSSH's own client, which is not installed here: install openssh-client"
        )
    return words


def _add(found: dict[str, tuple[str, ...]], keyword: str, words: tuple[str, ...]) -> None:
    if keyword in ("proxycommand", "proxyjump") and ("proxycommand" in found or "proxyjump" in found):
        return
    if keyword in _MANY:
        found[keyword] = (*found.get(keyword, ()), words[0])
    elif keyword in _LISTS:
        found.setdefault(keyword, (" ".join(words),))
    else:
        found.setdefault(keyword, (words[0],))
