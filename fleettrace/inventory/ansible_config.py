"""Read ansible.cfg and Ansible's environment variables: which file counts, and the settings that fleettrace shares.

The search and the precedence are those of Ansible (lib/ansible/config/manager.py): a variable takes precedence over the
file, and where a setting has several names, the last one that is set counts.
"""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleettrace.errors import ConfigError

__all__ = ["BECOME_METHODS", "TRUE_WORDS", "AnsibleConfig", "Setting", "find_config", "read_config"]

_DEFAULTS, _SSH, _BECOME, _INVENTORY = "defaults", "ssh_connection", "privilege_escalation", "inventory"
# As in Ansible (module_utils/parsing/convert_bool.py); any other word means false there.
TRUE_WORDS = frozenset({"y", "yes", "on", "1", "true", "t"})
BECOME_METHODS = ("sudo", "su", "doas", "dzdo", "pbrun", "run0")
_OF_METHODS = ("become_user", "become_exe", "become_flags")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting with its origin."""

    value: object
    origin: str
    """`FILE:LINE`, or the name of the environment variable."""


@dataclass(frozen=True, slots=True)
class AnsibleConfig:
    """The settings that are set, by the names in `ansible-config list` or in the connection plugin, in lower case."""

    file: Path | None = None
    """The ansible.cfg in use."""
    settings: Mapping[str, Setting] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        """Return a setting that is a text or a path."""
        value = self._value(name)
        return None if value is None else str(value)

    def words(self, name: str) -> tuple[str, ...] | None:
        """Return a setting that is a list."""
        value = self._value(name)
        return tuple(value) if isinstance(value, list) else None

    def truth(self, name: str) -> bool | None:
        """Return a setting that is true or false."""
        value = self._value(name)
        return value if isinstance(value, bool) else None

    def number(self, name: str) -> int | None:
        """Return a setting that is a whole number."""
        value = self._value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def overridden(self, settings: Mapping[str, Setting]) -> AnsibleConfig:
        """Return these settings with `settings`, from the command line, in place of those with their names.

        A setting of become that is given replaces those of single methods too.
        """
        suffixes = tuple(name.removeprefix("become") for name in settings if name in _OF_METHODS)
        others = {name: each for name, each in self.settings.items() if not suffixes or not name.endswith(suffixes)}
        return AnsibleConfig(self.file, {**others, **settings}, self.warnings)

    def _value(self, name: str) -> object:
        return self.settings[name].value if name in self.settings else None


def find_config(environ: Mapping[str, str], directory: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the ansible.cfg that Ansible would use in `directory`, None if there is none, and warnings."""
    candidates: list[Path] = []
    named = environ.get("ANSIBLE_CONFIG")
    if named is not None:
        path = _resolved(named, directory, environ)
        candidates.append(path / "ansible.cfg" if path.is_dir() else path)
    own = directory / "ansible.cfg"
    try:
        writable = bool(directory.stat().st_mode & stat.S_IWOTH)
    except OSError:
        writable = True
    if not writable:
        candidates.append(own)
    candidates += [_resolved("~/.ansible.cfg", directory, environ), Path("/etc/ansible/ansible.cfg")]
    found = next((path for path in candidates if os.access(path, os.R_OK)), None)
    if writable and own.exists() and (named is None or found != candidates[0]):
        warning = f"{own}: ignored, as in Ansible: any user can write to its directory; set ANSIBLE_CONFIG to use it"
        return found, (warning,)
    return found, ()


def read_config(environ: Mapping[str, str], directory: Path) -> AnsibleConfig:
    """Return Ansible's settings for a command in `directory` with the variables `environ`.

    Raises `ConfigError`, which names the file and the line, or the variable.
    """
    file, warnings = find_config(environ, directory)
    parser, lines = (None, {}) if file is None else _parsed(file)
    settings = {}
    for name, known in _KNOWN.items():
        found = _from_environment(known, environ, directory) or _from_file(known, parser, lines, file, environ)
        if found is not None:
            settings[name] = found
    return AnsibleConfig(file, settings, warnings)


@dataclass(frozen=True, slots=True)
class _Known:
    """The names of one setting, and its type."""

    variables: tuple[str, ...]
    entries: tuple[tuple[str, str], ...]
    convert: Callable[[str, Path, Mapping[str, str]], object]


def _from_environment(known: _Known, environ: Mapping[str, str], directory: Path) -> Setting | None:
    for variable in reversed(known.variables):
        if variable in environ:
            return Setting(_converted(known, environ[variable], variable, directory, environ), variable)
    return None


def _from_file(
    known: _Known,
    parser: configparser.ConfigParser | None,
    lines: Mapping[tuple[str, str], int],
    file: Path | None,
    environ: Mapping[str, str],
) -> Setting | None:
    if parser is None or file is None:
        return None
    for section, key in reversed(known.entries):
        text = parser.get(section, key, raw=True, fallback=None)
        if text is not None:
            line = lines.get((section, key))
            origin = f"{file}:{line}" if line else str(file)
            return Setting(_converted(known, _unquoted(text), f"{origin}: {key}", file.parent, environ), origin)
    return None


def _converted(known: _Known, text: str, where: str, directory: Path, environ: Mapping[str, str]) -> object:
    try:
        return known.convert(text, directory, environ)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _parsed(file: Path) -> tuple[configparser.ConfigParser, dict[tuple[str, str], int]]:
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",))
    try:
        text = file.read_text(encoding="utf-8")
        parser.read_string(text, str(file))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=file) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8: save it as UTF-8", file=file) from None
    except configparser.Error as error:
        # Of a ParsingError, `errors` holds (line, text) pairs.
        line = getattr(error, "lineno", None) or next((number for number, _ in getattr(error, "errors", [])), None)
        raise ConfigError(
            f"is not a valid ansible.cfg ({type(error).__name__}): correct it", file=file, line=line
        ) from None
    return parser, _lines(text)


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each key; configparser does not keep it."""
    section, found = "", {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\[([^]]+)\]", line):
            section = header[1]
        elif key := re.match(r"([^\s#;=:][^=:]*?)\s*[=:]", line):
            found[section, key[1].lower()] = number
    return found


def _unquoted(text: str) -> str:
    """As Ansible: quotes around the whole value go."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[-2] != "\\" else text


def _resolved(text: str, directory: Path, environ: Mapping[str, str]) -> Path:
    """Return a path as Ansible's `unfrackpath` does: `~`, variables and {{CWD}} expanded, relative to `directory`."""
    text = text.replace("{{CWD}}", str(Path.cwd()))
    text = re.sub(r"\$(\w+|\{[^}]*\})", lambda found: environ.get(found[1].strip("{}"), found[0]), text)
    return Path(os.path.normpath(directory / Path(text).expanduser()))


def _path(text: str, directory: Path, environ: Mapping[str, str]) -> str:
    return str(_resolved(text, directory, environ))


def _sources(text: str, directory: Path, environ: Mapping[str, str]) -> list[str]:
    """A list of paths; Ansible reads host lists such as `h1,h2,` on its command line alone."""
    return [_path(name.strip(), directory, environ) for name in text.split(",") if name.strip()]


def _text(text: str, _directory: Path, _environ: Mapping[str, str]) -> str:
    return text


def _truth(text: str, _directory: Path, _environ: Mapping[str, str]) -> bool:
    return text.strip().lower() in TRUE_WORDS


def _number(text: str, _directory: Path, _environ: Mapping[str, str]) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _words(text: str, _directory: Path, _environ: Mapping[str, str]) -> list[str]:
    return [_unquoted(word.strip()) for word in text.split(",")]


def _become(option: str, key: str) -> dict[str, _Known]:
    """A setting of become: for all methods, and one for each method, which takes precedence."""
    known = {f"become_{option}": _Known((f"ANSIBLE_BECOME_{option.upper()}",), ((_BECOME, f"become_{option}"),), _text)}
    for method in BECOME_METHODS:
        variable = f"ANSIBLE_{method.upper()}_{option.upper()}"
        known[f"{method}_{option}"] = _Known((variable,), ((f"{method}_become_plugin", key),), _text)
    return known


# From lib/ansible/config/base.yml and the documentation of the ssh, sudo and su plugins of ansible-core 2.19.
_KNOWN: dict[str, _Known] = {
    "inventory": _Known(("ANSIBLE_INVENTORY",), ((_DEFAULTS, "inventory"),), _sources),
    "forks": _Known(("ANSIBLE_FORKS",), ((_DEFAULTS, "forks"),), _number),
    "any_errors_fatal": _Known(("ANSIBLE_ANY_ERRORS_FATAL",), ((_DEFAULTS, "any_errors_fatal"),), _truth),
    "transport": _Known(("ANSIBLE_TRANSPORT",), ((_DEFAULTS, "transport"),), _text),
    "remote_user": _Known(("ANSIBLE_REMOTE_USER",), ((_DEFAULTS, "remote_user"),), _text),
    "remote_port": _Known(("ANSIBLE_REMOTE_PORT",), ((_DEFAULTS, "remote_port"),), _number),
    "private_key_file": _Known(("ANSIBLE_PRIVATE_KEY_FILE",), ((_DEFAULTS, "private_key_file"),), _path),
    "timeout": _Known(("ANSIBLE_TIMEOUT", "ANSIBLE_SSH_TIMEOUT"), ((_DEFAULTS, "timeout"), (_SSH, "timeout")), _number),
    "host_key_checking": _Known(
        ("ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"),
        ((_DEFAULTS, "host_key_checking"), (_SSH, "host_key_checking")),
        _truth,
    ),
    "ssh_args": _Known(("ANSIBLE_SSH_ARGS",), ((_SSH, "ssh_args"),), _text),
    "ssh_common_args": _Known(("ANSIBLE_SSH_COMMON_ARGS",), ((_SSH, "ssh_common_args"),), _text),
    "ssh_extra_args": _Known(("ANSIBLE_SSH_EXTRA_ARGS",), ((_SSH, "ssh_extra_args"),), _text),
    "ssh_executable": _Known(("ANSIBLE_SSH_EXECUTABLE",), ((_SSH, "ssh_executable"),), _text),
    "ask_pass": _Known(("ANSIBLE_ASK_PASS",), ((_DEFAULTS, "ask_pass"),), _truth),
    "become_method": _Known(("ANSIBLE_BECOME_METHOD",), ((_BECOME, "become_method"),), _text),
    "become_ask_pass": _Known(("ANSIBLE_BECOME_ASK_PASS",), ((_BECOME, "become_ask_pass"),), _truth),
    **_become("user", "user"),
    **_become("exe", "executable"),
    **_become("flags", "flags"),
    **_become("pass", "password"),
    "become_password_file": _Known(("ANSIBLE_BECOME_PASSWORD_FILE",), ((_DEFAULTS, "become_password_file"),), _path),
    "connection_password_file": _Known(
        ("ANSIBLE_CONNECTION_PASSWORD_FILE",), ((_DEFAULTS, "connection_password_file"),), _path
    ),
    "vault_password_file": _Known(("ANSIBLE_VAULT_PASSWORD_FILE",), ((_DEFAULTS, "vault_password_file"),), _path),
    "vault_identity_list": _Known(("ANSIBLE_VAULT_IDENTITY_LIST",), ((_DEFAULTS, "vault_identity_list"),), _words),
    "ask_vault_pass": _Known(("ANSIBLE_ASK_VAULT_PASS",), ((_DEFAULTS, "ask_vault_pass"),), _truth),
    "inventory_ignore_extensions": _Known(
        ("ANSIBLE_INVENTORY_IGNORE",),
        ((_DEFAULTS, "inventory_ignore_extensions"), (_INVENTORY, "ignore_extensions")),
        _words,
    ),
    "inventory_ignore_patterns": _Known(
        ("ANSIBLE_INVENTORY_IGNORE_REGEX",),
        ((_DEFAULTS, "inventory_ignore_patterns"), (_INVENTORY, "ignore_patterns")),
        _words,
    ),
}
