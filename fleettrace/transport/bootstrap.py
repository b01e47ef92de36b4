"""How a script gets onto a node: a constant command line, and the script behind it on standard input.

The command line varies only in the words of the method that becomes root (`become.py`). Quotes keep every shell from
interpreting them, and a word with `!` (csh expands it), a backslash (fish interprets it), a quote or a control
character is refused. So the line works in every login shell. `sh` then does this:

1. It prints a marker on both streams, which ends the output of motd and rc files.
2. It skips lines up to a header (a password that sudo did not ask for is such a line).
3. It reads exactly as many bytes as the header states, and evaluates them if all of them arrived.

Standard input stays open behind the script, which may watch it for its end.

A header may also hold a token. Then the script runs in a subshell, and `sh` prints the token and the script's exit
status on both streams when it ends, and waits for another header. One login shell and one sudo serve several scripts.

What the author of a script has to know:

- It runs in the C locale, and `$$` may be the number of its parent.
- POSIX gives a background process /dev/null as its standard input unless the script passes its own on
  (`exec 3<&0; watcher <&3 &`).
- Its standard input holds nothing but the end of input while it runs (`head -c` of coreutils stops at the byte,
  busybox's reads ahead). A process of the script that reads it has to end with the script.

`Handshake` and `EndDetector` are the controller's half: state machines that are fed what the node prints, without I/O.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from fleettrace.errors import HostError
from fleettrace.transport.become import (
    NOT_INSTALLED,
    become_error,
    check,
    method_words,
    prompts,
    takes_one_word,
    waits,
)
from fleettrace.transport.interface import Become, Chunk, Stream
from fleettrace.transport.script_errors import BecomeFailure, ShellFailure
from fleettrace.transport.text import readable

__all__ = [
    "CLEAN_ENVIRONMENT",
    "NOISE_LIMIT",
    "EndDetector",
    "Handshake",
    "argv",
    "command_line",
    "frame",
]

NOISE_LIMIT = 64 * 1024
"""Bytes that login shells may print on one stream before the marker."""

_MARKER = b"\nfleettrace-ready\n"
_HEADER_RUN = b"fleettrace-script: "
"""A shell that took the header for a command prints this."""

# Printed right before sudo starts, so that it separates the login shell's output from sudo's. Before it, an rc file
# with `set -x` prints this whole command line, with sudo's prompt in it.
_BEFORE_BECOME = b"\nfleettrace-shell\n"

# Undoes the options of an exported SHELLOPTS, and the timeout of `read`.
_RESET = "set +aefuvxC; unset TMOUT; LC_ALL=C; export LC_ALL; "

CLEAN_ENVIRONMENT = b"""\
unset BASH_ENV ENV CDPATH QUOTING_STYLE GREP_OPTIONS GREP_COLOR GREP_COLORS TIME_STYLE BLOCK_SIZE PS4
unset LANGUAGE PERL5OPT PERL5LIB PERL_UNICODE PERLIO AWKPATH BCC_SYMFS DEBUGINFOD_URLS OPENSSL_CONF
unset $(export -p | while IFS= read -r k; do
    case $k in *BPFTRACE_*=*) k=${k%%=*}; k=${k##* }; case $k in *[!A-Z0-9_]*) ;; *) echo "$k" ;; esac ;; esac
done; echo k)
"""
"""Goes before each script. Unsets the variables of the login, or of sudo's env_keep, that change how the script's tools
work, and every variable of bpftrace's, because each version knows others."""

# 97: standard input ended before a whole script arrived. 96 (below): the program of the method is not installed.
_RECEIVE = (
    _RESET + "echo; echo fleettrace-ready; { echo; echo fleettrace-ready; } >&2; "
    "d=97; while read -r k n m; do case $k in fleettrace-script) "
    "s=$(head -c $n; echo x); s=${s%x}; "
    "[ ${#s} -eq $n ] || exit 97; "
    'case $m in "") unset d k n m; eval "unset s; $s"; exit;; esac; '
    '( unset d k n m; eval "unset s; $s" ); d=$?; '
    'echo "fleettrace-over $m $d"; echo "fleettrace-over $m $d" >&2;; esac; done; exit $d'
)
# $1: `_RECEIVE`; $2: the user to become; then the words of the method.
_BECOME = (
    f"{_RESET}{{ echo; echo fleettrace-shell; }} >&2; r=$1 u=$2; shift 2; "
    'if [ "$u" = root ]; then [ "$(id -u)" = 0 ]; else [ "$(id -un)" = "$u" ]; fi && exec sh -c "$r"; '
    f'command -v "$1" >/dev/null 2>&1 || {{ echo {NOT_INSTALLED} >&2; exit 96; }}; '
)
_BECOME_WORDS = _BECOME + 'exec "$@" sh -c "$r"'
_BECOME_LINE = _BECOME + """exec "$@" "exec sh -c '$r'\""""


def argv(become: Become | None) -> tuple[str, ...]:
    """Return the bootstrap as an argument list: one of three constants, and behind it the words of `become`.

    Raises ValueError for a word that a login shell may interpret.
    """
    if become is None:
        return ("sh", "-c", _RECEIVE)
    check(become)
    script = _BECOME_LINE if takes_one_word(become) else _BECOME_WORDS
    return ("sh", "-c", script, "fleettrace", _RECEIVE, become.user, *method_words(become))


def command_line(become: Become | None) -> str:
    """Return `argv` as one line for any login shell (sh, bash, dash, zsh, fish, csh)."""
    return " ".join(shlex.quote(word) for word in argv(become))


def frame(script: bytes, token: str = "") -> bytes:
    """Return `script` behind its header line, as the node's `sh` reads it.

    With `token` (letters and digits that no script can guess), the shell stays for another script, and an `EndDetector`
    finds the end of this one. Raises ValueError for a NUL byte, which no shell variable can hold.
    """
    if b"\0" in script:
        raise ValueError("a script cannot hold a NUL byte")
    return b"fleettrace-script %d %b\n%b" % (len(script), token.encode("ascii"), script)


class EndDetector:
    """Finds the end of a script that runs in a kept shell, and removes the end marker from its output."""

    def __init__(self, token: str) -> None:
        self._marker = b"fleettrace-over %b " % token.encode("ascii")
        self._pending = dict.fromkeys(Stream, b"")
        self._statuses: dict[Stream, bytes] = {}

    @property
    def status(self) -> int | None:
        """The script's exit status, once the marker has arrived on both streams."""
        if len(self._statuses) < len(self._pending):
            return None
        status = self._statuses[Stream.OUT]
        return int(status) if status.isdigit() else 1

    def feed(self, chunk: Chunk) -> bytes:
        """Return the script's own output among `chunk` and the bytes that were held back before it."""
        if chunk.stream in self._statuses:
            return b""
        data = self._pending[chunk.stream] + chunk.data
        printed, marker, rest = data.partition(self._marker)
        status, line_end, _ = rest.partition(b"\n")
        if line_end:
            self._statuses[chunk.stream] = status
            return printed
        if not marker:
            # A suffix that may be the beginning of the marker waits for the rest of it.
            half = next((size for size in range(len(self._marker) - 1, 0, -1) if data.endswith(self._marker[:size])), 0)
            printed = data[: len(data) - half]
        self._pending[chunk.stream] = data[len(printed) :]
        return printed


class Handshake:
    """The exchange from a command's first output to the script's: skips noise, answers sudo, and names failures.

    Feed it every chunk and send what it yields. Once it is `ready`, `rest` holds the chunks that belong to the script.
    With `logged_in`, the caller's own login shell starts sudo: all output is sudo's or the script's.
    """

    def __init__(self, become: Become | None, framed: bytes, *, logged_in: bool = False) -> None:
        self._become = become
        self._framed = framed
        # `sudo -S` would read the script as the password, so the script waits until the shell behind sudo is ready.
        self._script_waits = waits(become)
        self._seen = {Stream.OUT: bytearray(), Stream.ERR: bytearray(_BEFORE_BECOME if logged_in else b"")}
        self._rest: dict[Stream, bytes] = {}
        self._prompts = 0

    @property
    def ready(self) -> bool:
        """Whether the marker has arrived on both streams, so that all further output is the script's."""
        return len(self._rest) == len(self._seen)

    @property
    def rest(self) -> list[Chunk]:
        """The script's first output, which arrived together with the marker."""
        return [Chunk(stream, data) for stream, data in self._rest.items() if data]

    def opening(self) -> bytes:
        """Return what to send before any output arrives."""
        return b"" if self._script_waits else self._framed

    def feed(self, chunk: Chunk) -> Iterator[bytes]:
        """Take what the node printed, and yield what to send. Raises `HostError` (`become-failed`, `unreachable`)."""
        if chunk.stream in self._rest:
            self._rest[chunk.stream] += chunk.data
            return
        seen = self._seen[chunk.stream]
        seen += chunk.data
        before, marker, after = bytes(seen).partition(_MARKER)
        if not marker:
            _check_noise(before)
        else:
            self._rest[chunk.stream] = after
            if chunk.stream is Stream.OUT and self._script_waits:
                yield self._framed
        if chunk.stream is Stream.ERR:
            yield from self._answer(before.partition(_BEFORE_BECOME)[2])

    def _answer(self, printed: bytes) -> Iterator[bytes]:
        if self._become is None or (asked := prompts(self._become, printed)) <= self._prompts:
            return
        if self._become.password is None:
            raise become_error(self._become, printed, BecomeFailure.PASSWORD_REQUIRED)
        if self._prompts or asked > 1:
            raise become_error(self._become, printed, BecomeFailure.WRONG_PASSWORD)
        self._prompts = asked
        yield self._become.password.encode() + b"\n"

    def failure(self, status: int | None) -> HostError:
        """Return why the command ended before the script started, with `status` (None: a signal ended it)."""
        stderr = bytes(self._seen[Stream.ERR])
        _, reached, printed = stderr.partition(_BEFORE_BECOME)
        if self._become is not None and reached:
            return become_error(self._become, printed)
        return _shell_error(stderr + b"\n" + bytes(self._seen[Stream.OUT]), status)

    def timeout_error(self, seconds: float) -> HostError:
        """Return why the script had not started after `seconds`."""
        stderr = bytes(self._seen[Stream.ERR])
        _, reached, printed = stderr.partition(_BEFORE_BECOME)
        if self._become is not None and reached:
            what = f"did not start a shell within {seconds:g} s"
            return become_error(self._become, printed, BecomeFailure.TIMEOUT, what)
        account = _account_failure(stderr + b"\n" + bytes(self._seen[Stream.OUT]))
        if account is not None:
            return account.error()
        return ShellFailure.TIMEOUT.error(f"logged in, but the login shell ran no command within {seconds:g} s")


_ACCOUNT_OUTPUT = (
    # nologin(8) of util-linux and of shadow; a site's own text (/etc/nologin.txt) is quoted by `_shell_error`.
    (b"This account is currently not available", ShellFailure.ACCOUNT_NOLOGIN),
    # OpenSSH's session.c, do_pwchange(), and pam_unix.
    (b"Password change required", ShellFailure.ACCOUNT_EXPIRED),
    # OpenSSH's session.c, do_child().
    (b"This service allows sftp connections only", ShellFailure.ACCOUNT_SFTP_ONLY),
    # A shell that was not given the command reads the script as its own input, and waits for more of it.
    (_HEADER_RUN, ShellFailure.FORCED_COMMAND),
)
"""What accounts that run no command print."""


def _check_noise(printed: bytes) -> None:
    """Raise `HostError` for output from which no marker can follow any more."""
    if b"fleettrace-ready\r\n" in printed:
        raise ShellFailure.TERMINAL.error()
    if _HEADER_RUN in printed:
        raise _shell_error(printed, None)
    if len(printed) > NOISE_LIMIT:
        raise ShellFailure.NOISE.error(
            f"the login shell printed more than {NOISE_LIMIT // 1024} KiB before it ran a command"
        )


def _account_failure(printed: bytes) -> ShellFailure | None:
    """Return the failure of an account that printed this instead of running a command, if it is a known one."""
    return next((failure for text, failure in _ACCOUNT_OUTPUT if text in printed), None)


def _shell_error(printed: bytes, status: int | None) -> HostError:
    """Return the error of a login shell that printed this and ended instead of running `sh`."""
    account = _account_failure(printed)
    if account is not None:
        return account.error()
    end = "a signal" if status is None else f"status {status}"
    text = readable(printed)
    return ShellFailure.FAILED.error(
        f"the login shell ended with {end} instead of running `sh`" + (f" ({text})" if text else "")
    )
