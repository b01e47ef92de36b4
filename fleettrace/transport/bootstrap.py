"""How a script gets onto a node: a constant command line, and the script behind it on standard input.

The command line never varies, so nothing that the controller or a node chose is parsed by a remote shell. It has to
survive whatever the login shell is: one line, single quotes only, and neither `!` (csh expands it) nor a backslash
(fish reads it) in it. `sh` then prints a marker on both streams, which ends the noise of motd and rc files; swallows
lines up to a header (a password that sudo did not want is one); reads exactly as many bytes as the header says; and
evaluates them, if they arrived whole. Standard input stays open behind the script, for the script to watch.

A header may hold a word besides. Then the script runs in a subshell; at its end the word and the script's exit status
are printed on both streams, and the shell waits for another header. One login shell and one sudo serve several scripts.

A script should know: it runs in the C locale; `$$` may be its parent's number; a background process has /dev/null as
its standard input unless the script passes its own on (`exec 3<&0; watcher <&3 &`), as POSIX says; and nothing but the
end of input follows it on its standard input while it runs (coreutils' `head -c` stops at the byte, busybox's reads
ahead). Whatever of it reads there has to end with it.

`Handshake` and `Ending` are the controller's half: pure machines that are fed what the node prints.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from fleettrace.errors import HostError, HostState
from fleettrace.transport.interface import Become, Chunk, Stream

__all__ = ["CLEAN", "NOISE_LIMIT", "Ending", "Handshake", "argv", "command_line", "frame", "readable"]

NOISE_LIMIT = 64 * 1024
"""Bytes that login shells may print on one stream before the marker."""

_MARKER = b"\nfleettrace-ready\n"
_PROMPT = b"[fleettrace-sudo]"
_NO_SUDO = "fleettrace-no-sudo"
_NOT_OURS = b"fleettrace-script: "

# Printed before sudo, which may print anything: whether it was reached, and what before it is the login shell's own. An
# rc file with `set -x` prints this whole command line, sudo's prompt in it.
_SHELL = b"\nfleettrace-shell\n"

# The options of an exported SHELLOPTS, and what makes `read` give up.
_OWN = "set +aefuvxC; unset TMOUT; LC_ALL=C; export LC_ALL; "

CLEAN = b"""unset BASH_ENV ENV CDPATH QUOTING_STYLE GREP_OPTIONS GREP_COLOR GREP_COLORS TIME_STYLE BLOCK_SIZE PS4
unset LANGUAGE PERL5OPT PERL5LIB PERL_UNICODE PERLIO AWKPATH BCC_SYMFS DEBUGINFOD_URLS OPENSSL_CONF
unset $(export -p | while IFS= read -r k; do
    case $k in *BPFTRACE_*=*) k=${k%%=*}; k=${k##* }; case $k in *[!A-Z0-9_]*) ;; *) echo "$k" ;; esac ;; esac
done; echo k)
"""
"""Takes out of the environment what changes how the tools of a script work: a login's own, or what sudo's env_keep has.
Goes before each script. All of bpftrace's variables go, whichever it knows."""

# The exit statuses only tell a broken link from a script's own failure: neither can be seen unless stdin ended early.
_RECEIVE = (
    _OWN + "echo; echo fleettrace-ready; { echo; echo fleettrace-ready; } >&2; "
    "d=97; while read -r k n m; do case $k in fleettrace-script) "
    "s=$(head -c $n; echo x); s=${s%x}; "
    "[ ${#s} -eq $n ] || exit 97; "
    'case $m in "") unset d k n m; eval "unset s; $s"; exit;; esac; '
    '( unset d k n m; eval "unset s; $s" ); d=$?; '
    'echo "fleettrace-over $m $d"; echo "fleettrace-over $m $d" >&2;; esac; done; exit $d'
)
_BECOME = (
    f"{_OWN}{{ echo; echo fleettrace-shell; }} >&2; "
    'if [ "$(id -u)" = 0 ]; then exec sh -c "$1"; fi; '
    f"command -v sudo >/dev/null 2>&1 || {{ echo {_NO_SUDO} >&2; exit 96; }}; "
)
_SUDO = _BECOME + 'exec sudo -n -- sh -c "$1"'
_SUDO_PASSWORD = _BECOME + f'exec sudo -S -p "{_PROMPT.decode()}" -- sh -c "$1"'


def argv(become: Become | None) -> tuple[str, ...]:
    """The bootstrap as an argument list. One of three constants: no sudo, sudo without and sudo with a password."""
    if become is None:
        return ("sh", "-c", _RECEIVE)
    return ("sh", "-c", _SUDO if become.password is None else _SUDO_PASSWORD, "fleettrace", _RECEIVE)


def command_line(become: Become | None) -> str:
    """`argv` as one line for a login shell of any kind (sh, bash, dash, zsh, fish, csh)."""
    return " ".join(shlex.quote(word) for word in argv(become))


def frame(script: bytes, word: str = "") -> bytes:
    """`script` as it travels: the header line, then the bytes. With `word`, letters and digits that nobody guesses, the
    shell stays for another script, and an `Ending` finds this one's end.

    Raises ValueError for a NUL byte, which no shell can hold.
    """
    if b"\0" in script:
        raise ValueError("a script cannot hold a NUL byte")
    return b"fleettrace-script %d %b\n%b" % (len(script), word.encode("ascii"), script)


def readable(data: bytes, limit: int = 200) -> str:
    """What a node printed, as one short line that is safe on a terminal."""
    text = " ".join(data.decode("utf-8", "replace").split())
    safe = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


class Ending:
    """Finds the end of a script whose shell stays: what it printed is let through, what says that it is over is not."""

    def __init__(self, word: str) -> None:
        self._sign = b"fleettrace-over %b " % word.encode("ascii")
        self._held = dict.fromkeys(Stream, b"")
        self._over: dict[Stream, bytes] = {}

    @property
    def status(self) -> int | None:
        """The script's exit status once both streams have said that it is over."""
        if len(self._over) < len(self._held):
            return None
        said = self._over[Stream.OUT]
        return int(said) if said.isdigit() else 1

    def feed(self, chunk: Chunk) -> bytes:
        """What of `chunk`, and of what was held back before it, the script has printed."""
        data = self._held[chunk.stream] + chunk.data
        if chunk.stream in self._over:
            return b""
        printed, sign, rest = data.partition(self._sign)
        said, end, _ = rest.partition(b"\n")
        if end:
            self._over[chunk.stream] = said
            return printed
        if not sign:
            # What may be the beginning of the sign waits for the rest of it.
            half = next((size for size in range(len(self._sign) - 1, 0, -1) if data.endswith(self._sign[:size])), 0)
            printed = data[: len(data) - half]
        self._held[chunk.stream] = data[len(printed) :]
        return printed


class Handshake:
    """From the first byte of output to the script's own: skips noise, answers sudo, names what went wrong.

    Feed it every chunk and send what it yields. Once `ready`, `rest` holds the chunks that are already the script's.
    With `logged_in` the caller's own login shell starts sudo: what comes is sudo's, or the script's.
    """

    def __init__(self, become: Become | None, framed: bytes, *, logged_in: bool = False) -> None:
        self._become = become
        self._framed = framed
        # sudo -S would read the script as the password: then it is sent when the shell behind sudo says it is there.
        self._waits = become is not None and become.password is not None
        self._seen = {Stream.OUT: bytearray(), Stream.ERR: bytearray(_SHELL if logged_in else b"")}
        self._rest: dict[Stream, bytes] = {}
        self._prompts = 0

    @property
    def ready(self) -> bool:
        """Both streams have shown the marker: what follows is the script's output."""
        return len(self._rest) == len(self._seen)

    @property
    def rest(self) -> list[Chunk]:
        """The script's first output, which came together with the marker."""
        return [Chunk(stream, data) for stream, data in self._rest.items() if data]

    def opening(self) -> bytes:
        """What to send at once, before anything was printed."""
        return b"" if self._waits else self._framed

    def feed(self, chunk: Chunk) -> Iterator[bytes]:
        """Take what the node printed; yield what to send. Raises `HostError` (`become-failed`, `unreachable`)."""
        if chunk.stream in self._rest:
            self._rest[chunk.stream] += chunk.data
            return
        seen = self._seen[chunk.stream]
        seen += chunk.data
        before, marker, after = bytes(seen).partition(_MARKER)
        if b"fleettrace-ready\r\n" in seen and not marker:
            raise HostError(
                HostState.UNREACHABLE,
                "shell-terminal",
                "sshd runs commands in a terminal there, which changes what a script prints (a session recorder by "
                "ForceCommand?): log in as an account without it",
            )
        if _NOT_OURS in before and not marker:
            raise _shell_failure(before, None)
        if marker:
            self._rest[chunk.stream] = after
            if chunk.stream is Stream.OUT and self._waits:
                yield self._framed
        elif len(before) > NOISE_LIMIT:
            raise HostError(
                HostState.UNREACHABLE,
                "shell-noise",
                f"the login shell printed more than {NOISE_LIMIT // 1024} KiB before it ran a command: "
                "silence its rc files for sessions that are not interactive",
            )
        if chunk.stream is Stream.ERR:
            yield from self._answer(before.partition(_SHELL)[2].count(_PROMPT))

    def _answer(self, prompts: int) -> Iterator[bytes]:
        if prompts <= self._prompts or self._become is None or self._become.password is None:
            return
        if self._prompts or prompts > 1:
            raise _wrong_password()
        self._prompts = prompts
        yield self._become.password.encode() + b"\n"

    def failure(self, status: int | None) -> HostError:
        """Why the command ended (with exit status `status`, None for a signal) before the script could start."""
        words = bytes(self._seen[Stream.ERR])
        _, reached, sudos = words.partition(_SHELL)
        if self._become is not None and reached:
            return _become_failure(sudos.decode("utf-8", "replace"), sudos)
        return _shell_failure(words + b"\n" + bytes(self._seen[Stream.OUT]), status)

    def silence(self, seconds: float) -> HostError:
        """Why nothing came for `seconds` where the script should have started."""
        _, reached, sudos = bytes(self._seen[Stream.ERR]).partition(_SHELL)
        if self._become is not None and reached:
            return HostError(
                HostState.BECOME_FAILED,
                "become-timeout",
                f"sudo did not start a shell within {seconds:g} s"
                + _quoted(sudos)
                + ": does it ask for something other than a password?",
            )
        return _account_failure(bytes(self._seen[Stream.ERR]) + b"\n" + bytes(self._seen[Stream.OUT])) or HostError(
            HostState.UNREACHABLE,
            "shell-timeout",
            f"logged in, but the login shell ran no command within {seconds:g} s: look at its rc files, the load, "
            "and a ForceCommand of sshd",
        )


_ACCOUNTS = (
    # nologin(8) of util-linux and of shadow; a text of the site's own (/etc/nologin.txt) is quoted instead.
    (
        b"This account is currently not available",
        "account-nologin",
        "the account has nologin for its shell: log in as one with a shell, or `usermod --shell /bin/sh` it",
    ),
    # OpenSSH's session.c, do_pwchange() and, for PAM, pam_unix's words.
    (
        b"Password change required",
        "account-expired",
        "the account's password has expired, and sshd wants it changed before any command: change it, or `chage -d` it",
    ),
    # OpenSSH's session.c, do_child().
    (
        b"This service allows sftp connections only",
        "account-sftp-only",
        "sshd lets this account use SFTP only (ForceCommand internal-sftp): log in as another one",
    ),
    # A shell that was not given the command took the script for its own input; it waits for more of that.
    (
        _NOT_OURS,
        "forced-command",
        (
            "sshd runs a command of its own for this account instead of the one that it was given (ForceCommand, or "
            "`command=` in authorized_keys): log in as another one"
        ),
    ),
)


def _account_failure(printed: bytes) -> HostError | None:
    """What is known of an account that printed this instead of running a command; None where nothing is."""
    for sign, code, message in _ACCOUNTS:
        if sign in printed:
            return HostError(HostState.UNREACHABLE, code, message)
    return None


def _shell_failure(printed: bytes, status: int | None) -> HostError:
    """What an account that ran no command has printed, as a code and a cure."""
    if (known := _account_failure(printed)) is not None:
        return known
    text = readable(printed)
    how = "a signal" if status is None else f"status {status}"
    return HostError(
        HostState.UNREACHABLE,
        "shell-failed",
        f"the login shell ended with {how} instead of running `sh`"
        + (f": {text}" if text else "; does the account have a shell that may run commands?"),
    )


def _quoted(words: bytes) -> str:
    text = readable(words.replace(_PROMPT, b""))
    return f" ({text})" if text else ""


def _wrong_password() -> HostError:
    return HostError(
        HostState.BECOME_FAILED,
        "become-wrong-password",
        "sudo refused the password: check `ansible_become_password`",
    )


def _become_failure(text: str, words: bytes) -> HostError:
    """sudo's own words (C locale; plugins/sudoers and src/ of sudo 1.8 to 1.9) as a code and a cure."""

    def failed(code: str, message: str) -> HostError:
        return HostError(HostState.BECOME_FAILED, code, message)

    if _NO_SUDO in text:
        return failed(
            "become-no-sudo",
            "sudo is not installed there: install it, or log in as root (`ansible_user: root`)",
        )
    if "incorrect password attempt" in text or "Sorry, try again" in text:
        return _wrong_password()
    if "password is required" in text or "no password was provided" in text:
        return failed(
            "become-password-required",
            "sudo asks for a password: set `ansible_become_password`, or allow NOPASSWD in sudoers",
        )
    if "must have a tty" in text:
        return failed(
            "become-needs-tty",
            "sudo wants a terminal: set `Defaults:USER !requiretty` in sudoers for the user who logs in",
        )
    if "not in the sudoers" in text or "not allowed to" in text or "may not run sudo" in text:
        return failed(
            "become-refused",
            "sudoers does not let this user run `sh` as root: allow it there, or log in as another user",
        )
    return failed("become-failed", f"sudo did not start a shell{_quoted(words)}: try `sudo -n true` there by hand")
