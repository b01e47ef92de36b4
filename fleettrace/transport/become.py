"""Become another user on a node: the command of each method, its question for a password, and what its failures mean.

The commands are Ansible's (its become plugins and those of community.general), without a terminal. The password goes on
standard input, once, after the method's own question. Its prompt is ours for sudo and dzdo, and PAM's for the others.
doas and run0 read passwords from a terminal only, so they need a rule that asks for none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from fleettrace.errors import HostError
from fleettrace.transport.interface import Become
from fleettrace.transport.script_errors import BecomeFailure
from fleettrace.transport.text import readable

__all__ = ["NOT_INSTALLED", "become_error", "check", "method_words", "prompts", "takes_one_word", "waits"]

NOT_INSTALLED = "fleettrace-not-installed"
"""What the bootstrap prints where the node does not have the method's program."""

_OWN_PROMPT = "[fleettrace-sudo]"
# PAM's question in the C locale; a line that merely ends with a colon is none.
_PAM_PROMPT = re.compile(rb"[Pp]assword[^\n:]{0,80}:(?! *\n)")
# Words that no login shell changes within single quotes: csh expands `!`, and fish interprets a backslash.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f!\\']")
# Options of sudo that take no value, which may be written together.
_SWITCHES = re.compile(r"-[ABbEHiKknPSs]+")
_SWITCH_LETTERS = re.compile(r"[inSs]")


@dataclass(frozen=True, slots=True)
class _Method:
    """A program that starts a command as another user."""

    words: Callable[[Become], list[str]]
    """Its arguments before the command."""
    own_prompt: bool = False
    """Whether it asks with our prompt."""
    asks: bool = False
    """Whether it may ask for a password even if none is configured, and would take the script for it."""
    command_is_one_word: bool = False
    cures: dict[BecomeFailure, str] = field(default_factory=dict)


def _sudo(become: Become) -> list[str]:
    # -n and -S are ours to choose. For -i and -s, sudo gives the command to a shell that expands it once more.
    switches = [_SWITCH_LETTERS.sub("", word) if _SWITCHES.fullmatch(word) else word for word in become.flags or ()]
    flags = [word for word in switches if word not in ("-", "--login", "--shell", "--stdin", "--non-interactive")]
    own = ["-n"] if become.password is None else ["-S", "-p", _OWN_PROMPT]
    return [*own, *flags, "-u", become.user, "--"]


def _doas(become: Become) -> list[str]:
    return ["-n", *(become.flags or ()), "-u", become.user]


_METHODS = {
    "sudo": _Method(_sudo, own_prompt=True),
    "dzdo": _Method(
        _sudo,
        own_prompt=True,
        cures={
            BecomeFailure.REFUSED: "allow it in the dzdo rules, or log in as another user",
            BecomeFailure.PASSWORD_REQUIRED: "set `ansible_become_password`, or a dzdo rule without a password",
        },
    ),
    "su": _Method(
        lambda become: [*(become.flags or ()), become.user, "-c"],
        asks=True,
        command_is_one_word=True,
        cures={
            BecomeFailure.PASSWORD_REQUIRED: "set `ansible_become_password` to that user's password",
            BecomeFailure.REFUSED: "allow it in /etc/pam.d/su (pam_wheel), or log in as another user",
            BecomeFailure.NEEDS_TTY: "use another `ansible_become_method`",
        },
    ),
    "doas": _Method(
        _doas,
        cures={
            BecomeFailure.PASSWORD_REQUIRED: (
                "it reads one from a terminal only: write `permit nopass USER` into doas.conf"
            ),
            BecomeFailure.REFUSED: "write `permit nopass USER` into doas.conf",
            BecomeFailure.NEEDS_TTY: "write `permit nopass USER` into doas.conf",
        },
    ),
    "pbrun": _Method(
        lambda become: [*(become.flags or ()), "-u", become.user],
        asks=True,
        cures={
            BecomeFailure.REFUSED: "allow it in PowerBroker's policy, or log in as another user",
            BecomeFailure.PASSWORD_REQUIRED: "set `ansible_become_password`",
        },
    ),
    "run0": _Method(
        lambda become: ["--no-ask-password", *(become.flags or ()), f"--user={become.user}", "--"],
        cures={
            BecomeFailure.PASSWORD_REQUIRED: (
                "it reads one from a terminal only: allow org.freedesktop.systemd1.manage-units by a polkit rule"
            ),
            BecomeFailure.REFUSED: "allow org.freedesktop.systemd1.manage-units by a polkit rule",
        },
    ),
}


def check(become: Become) -> None:
    """Raise ValueError, with the cause as its text, for a method that is unknown or a word that no shell takes."""
    if become.method not in _METHODS:
        raise ValueError(f"expected one of {', '.join(_METHODS)}, not {become.method!r}")
    for word in method_words(become):
        if _UNSAFE.search(word):
            raise ValueError(f"{word!r} has a character that a login shell may interpret")
    if become.user.startswith("-") or not become.user:
        raise ValueError(f"{become.user!r} is not a user")


def method_words(become: Become) -> tuple[str, ...]:
    """Return the command to become the user, up to the command that it is to run. Raises ValueError for open quotes."""
    # As in Ansible, the executable may have arguments of its own (`sudo su -`).
    program = shlex.split(become.executable) if become.executable else [become.method]
    return (*program, *_METHODS[become.method].words(become))


def takes_one_word(become: Become) -> bool:
    """Return whether the command goes to the user's own shell as one word (`su -c`)."""
    return _METHODS[become.method].command_is_one_word


def waits(become: Become | None) -> bool:
    """Return whether a script has to wait until the method has started a shell, which reads it as a password else."""
    return become is not None and (become.password is not None or _METHODS[become.method].asks)


def prompts(become: Become, printed: bytes) -> int:
    """Return how often the method has asked for a password in what it `printed` so far."""
    if _METHODS[become.method].own_prompt:
        return printed.count(_OWN_PROMPT.encode())
    return len(_PAM_PROMPT.findall(printed))


# In the C locale: sudo 1.8 to 1.9 (plugins/sudoers, src/), sudo-rs, su of util-linux, shadow and busybox, doas, run0.
_OUTPUT = (
    (NOT_INSTALLED, BecomeFailure.NOT_INSTALLED),
    ("incorrect password attempt", BecomeFailure.WRONG_PASSWORD),
    ("ncorrect authentication attempt", BecomeFailure.WRONG_PASSWORD),
    ("Sorry, try again", BecomeFailure.WRONG_PASSWORD),
    ("Authentication failure", BecomeFailure.WRONG_PASSWORD),
    ("Authentication failed", BecomeFailure.WRONG_PASSWORD),
    ("incorrect password", BecomeFailure.WRONG_PASSWORD),
    ("must have a tty", BecomeFailure.NEEDS_TTY),
    ("must be run from a terminal", BecomeFailure.NEEDS_TTY),
    ("a tty is required", BecomeFailure.NEEDS_TTY),
    ("password is required", BecomeFailure.PASSWORD_REQUIRED),
    ("no password was provided", BecomeFailure.PASSWORD_REQUIRED),
    ("nteractive authentication is required", BecomeFailure.PASSWORD_REQUIRED),
    ("nteractive authentication required", BecomeFailure.PASSWORD_REQUIRED),
    ("Authentication required", BecomeFailure.PASSWORD_REQUIRED),
    ("not in the sudoers", BecomeFailure.REFUSED),
    ("not allowed to", BecomeFailure.REFUSED),
    ("may not run sudo", BecomeFailure.REFUSED),
    ("I'm sorry", BecomeFailure.REFUSED),
    ("Operation not permitted", BecomeFailure.REFUSED),
    ("Permission denied", BecomeFailure.REFUSED),
    ("Access denied", BecomeFailure.REFUSED),
)


def become_error(become: Become, printed: bytes, failure: BecomeFailure | None = None, what: str = "") -> HostError:
    """Return the error of a method that printed this and started no shell.

    `failure` and `what` (a clause about the method) take precedence over what it printed.
    """
    quoted = ""
    if failure is None:
        text = printed.decode("utf-8", "replace")
        failure = next((each for part, each in _OUTPUT if part in text), None)
    if failure in (None, BecomeFailure.TIMEOUT):
        failure = failure or BecomeFailure.FAILED
        text = readable(b" ".join(printed.split(_OWN_PROMPT.encode())))
        quoted = f" ({text})" if text else ""
    meaning = what or failure.meaning.removeprefix("sudo ")
    return failure.error(f"{become.method} {meaning}{quoted}", _METHODS[become.method].cures.get(failure, ""))
