"""The bootstrap in the shells that nodes have, and the controller's half with the stream cut at any byte."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.errors import HostState
from fleettrace.transport.bootstrap import NOISE_LIMIT, EndDetector, Handshake, argv, command_line, frame
from fleettrace.transport.interface import Become, Chunk, Stream
from fleettrace.transport.text import readable
from tests.transport.running import failing

READY = b"\nfleettrace-ready\n"
NODE_SHELLS = [["dash"], ["bash", "--posix"], ["busybox", "sh"]]
LOGIN_SHELLS = ["sh", "bash", "dash", "zsh", "fish", "csh"]


def shell(words: list[str], sent: bytes) -> subprocess.CompletedProcess[bytes]:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    return subprocess.run(words, input=sent, capture_output=True, timeout=20, check=False)


def receive(words: list[str], sent: bytes) -> tuple[bytes, bytes, int]:
    done = shell([*words, *argv(None)[1:]], sent)
    assert done.stdout.startswith(READY)
    assert done.stderr.startswith(READY)
    return done.stdout.removeprefix(READY), done.stderr.removeprefix(READY), done.returncode


@pytest.mark.parametrize("words", NODE_SHELLS, ids=" ".join)
class TestReceiver:
    def test_runs_the_script_and_ends_with_its_status(self, words: list[str]) -> None:
        script = b"#!/bin/sh\nprintf 'a\\0\\377\\n\\n'\necho \"it's\" >&2\nexit 3\n\n"
        assert receive(words, frame(script)) == (b"a\0\xff\n\n", b"it's\n", 3)

    def test_takes_bytes_that_are_not_text(self, words: list[str]) -> None:
        assert receive(words, frame(b"printf %s '\xff\xc3\xa9\xe2\x82'")) == (b"\xff\xc3\xa9\xe2\x82", b"", 0)

    def test_skips_lines_before_the_header(self, words: list[str]) -> None:
        assert receive(words, b"pass word\\\n\n" + frame(b"echo here")) == (b"here\n", b"", 0)

    def test_leaves_standard_input_to_the_script(self, words: list[str]) -> None:
        assert receive(words, frame(b"cat; echo over")) == (b"over\n", b"", 0)

    def test_waits_for_another_script_with_a_token(self, words: list[str]) -> None:
        over = b"fleettrace-over w0rd 3\n"
        assert receive(words, frame(b"echo one; exit 3", "w0rd")) == (b"one\n" + over, over, 3)

    @pytest.mark.parametrize("end", [0, 10, 20, -1])
    def test_does_not_run_part_of_a_script(self, words: list[str], end: int) -> None:
        assert receive(words, frame(b"echo one\necho two\n")[:end]) == (b"", b"", 97)

    def test_takes_a_large_script(self, words: list[str]) -> None:
        assert receive(words, frame(b"# filler\n" * 30_000 + b"echo end")) == (b"end\n", b"", 0)


@pytest.mark.parametrize("become", [None, Become(), Become(password="x")], ids=["plain", "sudo", "password"])
class TestCommandLine:
    def test_is_safe_for_any_login_shell(self, become: Become | None) -> None:
        line = command_line(become)
        assert not set(line) & set("!\\\n")
        assert len(line) < 1000

    @pytest.mark.parametrize("name", LOGIN_SHELLS)
    def test_runs_under_every_login_shell(self, become: Become | None, name: str) -> None:
        done = shell([name, "-c", command_line(become)], frame(b"echo $((6 * 7))"))
        assert (done.stdout, done.returncode) == (READY + b"42\n", 0)


def test_refuses_a_nul_byte() -> None:
    with pytest.raises(ValueError, match="NUL"):
        frame(b"echo \0")


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@given(
    noise=st.binary(max_size=60).filter(lambda noise: b"fleettrace" not in noise),
    rest=st.binary(max_size=60),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_finds_the_marker_in_any_chunks(noise: bytes, rest: bytes, cuts: list[int]) -> None:
    handshake = Handshake(None, b"script")
    assert handshake.opening() == b"script"
    for stream in Stream:
        for piece in pieces(noise + READY + rest, cuts):
            assert list(handshake.feed(Chunk(stream, piece))) == []
    assert handshake.ready
    assert handshake.rest == ([Chunk(stream, rest) for stream in Stream] if rest else [])


@given(cuts=st.lists(st.integers(0, 80), max_size=8))
def test_sends_the_password_once_when_asked(cuts: list[int]) -> None:
    handshake = Handshake(Become(password="s3cret"), b"script")
    assert handshake.opening() == b""
    traced = b"+ sh -c '... [fleettrace-sudo]'\n\nfleettrace-shell\n"
    lecture = traced + b"We trust you have received the usual lecture\n[fleettrace-sudo]"
    sent = [answer for piece in pieces(lecture, cuts) for answer in handshake.feed(Chunk(Stream.ERR, piece))]
    assert sent == [b"s3cret\n"]
    assert list(handshake.feed(Chunk(Stream.ERR, READY))) == []
    assert list(handshake.feed(Chunk(Stream.OUT, READY))) == [b"script"]
    assert handshake.ready


@given(
    printed=st.lists(
        st.sampled_from([b"fleettrace-over ", b"fleet", b"f", b"w0rd ", b"w0rd 7\n", b"\0", b"\n", b"x"])
    ).map(b"".join),
    status=st.integers(0, 255),
    late=st.binary(max_size=20),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_finds_the_end_in_any_chunks(printed: bytes, status: int, late: bytes, cuts: list[int]) -> None:
    marker = b"fleettrace-over w0rd "
    # The bytes around a removed marker may form another one.
    while marker in printed:
        printed = printed.replace(marker, b"")
    detector = EndDetector("w0rd")
    for stream in Stream:
        assert detector.status is None
        complete = printed + marker + b"%d\n" % status
        seen = b"".join(detector.feed(Chunk(stream, piece)) for piece in pieces(complete + late, cuts))
        assert seen == printed
    assert detector.status == status


def test_holds_back_no_other_output() -> None:
    detector = EndDetector("w0rd")
    for text in (b"a slice\n", b"fleettrace-over other 0\n", b"f\n"):
        assert detector.feed(Chunk(Stream.OUT, text)) == text


def test_second_prompt_means_a_wrong_password() -> None:
    handshake = Handshake(Become(password="s3cret"), b"script")
    list(handshake.feed(Chunk(Stream.ERR, b"\nfleettrace-shell\n[fleettrace-sudo]")))
    with failing("become-wrong-password", "become-failed"):
        list(handshake.feed(Chunk(Stream.ERR, b"\nSorry, try again.\n[fleettrace-sudo]")))


def test_prompt_of_sudo_rs_is_answered_once() -> None:
    handshake = Handshake(Become(password="s3cret"), b"script")
    prompt = b"\nfleettrace-shell\n[sudo: [fleettrace-sudo]] Password: "
    assert list(handshake.feed(Chunk(Stream.ERR, prompt))) == [b"s3cret\n"]
    with failing("become-wrong-password", "become-failed"):
        list(handshake.feed(Chunk(Stream.ERR, b"\nsudo: Authentication failed, try again.\n" + prompt)))


def test_limits_the_noise_of_a_login_shell() -> None:
    handshake = Handshake(None, b"script")
    list(handshake.feed(Chunk(Stream.OUT, b"x" * NOISE_LIMIT)))
    with failing("shell-noise", "unreachable"):
        list(handshake.feed(Chunk(Stream.OUT, b"x")))


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        (b"fleettrace-not-installed\n", "become-not-installed"),
        (b"sudo: a password is required\n", "become-password-required"),
        (b"sudo: 1 incorrect password attempt\n", "become-wrong-password"),
        (b"bob is not in the sudoers file.\n", "become-refused"),
        (b"Sorry, user bob is not allowed to execute '/bin/sh' as root on h.\n", "become-refused"),
        (b"sudo: sorry, you must have a tty to run sudo\n", "become-needs-tty"),
        (b"sudo: something \x1b[31melse\n", "become-failed"),
        # sudo-rs 0.2.5
        (b"sudo-rs: interactive authentication is required\n", "become-password-required"),
        (b"sudo-rs: I'm sorry bob. I'm afraid I can't do that\n", "become-refused"),
        (b"sudo: Maximum 3 incorrect authentication attempts\n", "become-wrong-password"),
    ],
)
def test_names_the_failures_of_sudo(printed: bytes, code: str) -> None:
    handshake = Handshake(Become(), b"script")
    list(handshake.feed(Chunk(Stream.ERR, b"fleettrace-not-installed\n\nfleettrace-shell\n" + printed)))
    failure = handshake.failure(1)
    assert (failure.state, failure.code) == (HostState.BECOME_FAILED, code)
    assert "\x1b" not in failure.message


def test_readable_escapes_and_shortens() -> None:
    assert readable(b"a\x1b[31m\nb\xff\t" + b"c" * 300, 20) == "a\\x1b[31m b\N{REPLACEMENT CHARACTER} cccc..."


@pytest.mark.parametrize(
    ("become", "cause"),
    [
        (Become("runas"), "expected one of sudo"),
        (Become(user="o!ps"), "login shell may interpret"),
        (Become(flags=("a\\b",)), "login shell may interpret"),
        (Become(executable="/a\x01b"), "login shell may interpret"),
        (Become(user="-x"), "not a user"),
        (Become(executable="'"), "quot"),
    ],
)
def test_words_that_no_shell_takes_are_refused(become: Become, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        argv(become)
