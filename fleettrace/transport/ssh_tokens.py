"""Expand what ssh_config(5) calls TOKENS, and environment variables, in the values that `ssh -G` prints as they are."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from fleettrace.errors import ConfigError

__all__ = ["expand", "user_path"]


def user_path(text: str, tokens: Mapping[str, str]) -> Path:
    """Return a path of ssh_config with `~`, `${NAME}` and tokens expanded. Raises `ConfigError`."""
    named = re.sub(r"\$\{([^}]*)\}", lambda found: _variable(found[1], text), text)
    return Path(expand(named, tokens, text)).expanduser()


def expand(text: str, tokens: Mapping[str, str], where: str) -> str:
    """Return `text` with its tokens expanded; `tokens` are those of the host: h, p, r, n, k, j.

    Raises `ConfigError` for a token that ssh_config(5) does not have.
    """
    if "%" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        letter = found[1]
        if letter == "%":
            return "%"
        if letter in tokens:
            return tokens[letter]
        own = _own_tokens(tokens)
        if letter not in own:
            raise ConfigError(f"ssh_config: unknown token %{letter} in {where!r}: write %% for a percent sign")
        return own[letter]

    return re.sub(r"%(.?)", value, text)


def _variable(name: str, text: str) -> str:
    if name not in os.environ:
        raise ConfigError(f"ssh_config: the variable {name} in {text!r} is not set: export it")
    return os.environ[name]


def _own_tokens(tokens: Mapping[str, str]) -> dict[str, str]:
    """Return the tokens of the controller, and the hash of them and the host's that names control sockets."""
    name = socket.gethostname()
    joined = "".join((name, tokens["h"], tokens["p"], tokens["r"], tokens["j"]))
    return {
        "C": hashlib.sha1(joined.encode()).hexdigest(),
        "d": str(Path.home()),
        "i": str(os.getuid()),
        "L": name.partition(".")[0],
        "l": name,
        "u": pwd.getpwuid(os.getuid()).pw_name,
    }
