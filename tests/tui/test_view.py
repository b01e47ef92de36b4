"""Events and key presses in, the screen's text out: what `fleettrace top` shows, without a terminal."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fleettrace.app.redaction import Redaction
from fleettrace.cli.top import live_view
from fleettrace.report.redact import Redact
from fleettrace.summary.key import Key
from fleettrace.tui.fleet import RECENT_S, LiveFleet
from fleettrace.tui.frame import frame
from fleettrace.tui.view import Action, LiveView
from tests.report.examples import HOSTILE
from tests.tui.live_fleet import Desk, arrived, failed, known


@pytest.fixture
def desk() -> Desk:
    """Three hosts, two of which count: `a` is hot on one, `b` is on both, and there are two families."""
    made = Desk().trace("c1", "c2")
    families = {f"user:{n}:profile".encode(): 2 for n in range(30)} | {f"cart/{n}".encode(): 1 for n in range(30)}
    made.take(arrived("c1", {b"a": 300, b"b": 100, **families}), arrived("c2", {b"b": 150, **families}))
    return made.take(failed("c3", "no route to 10.0.0.3"))


def test_head_shows_time_hosts_and_rate(desk: Desk) -> None:
    desk.at += 2
    head = desk.screen.splitlines()[0]
    assert head == "2 of 60 s  2/3 hosts tracing  1 failed  730 req/s  730 requests  cache-*"


def test_slices_of_all_hosts_add_up_by_key(desk: Desk) -> None:
    assert desk.names[:2] == ["a", "b"]
    desk.take(arrived("c2", {b"b": 200}, second=1))
    assert desk.names[:2] == ["b", "a"]
    (line,) = [line for line in desk.screen.splitlines() if line.endswith(" b")]
    assert line.split() == ["450", "450", "48.4%", "2", "hosts", "█", "b"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8), st.integers(1, 50)), max_size=40), st.randoms())
def test_order_of_slices_does_not_matter(slices: list[tuple[str, int, int]], rng: random.Random) -> None:
    events = [arrived(host, {b"k%d" % key: count}) for host, key, count in slices]
    mixed = rng.sample(events, len(events))
    one, other = LiveFleet(), LiveFleet()
    for fleet, order in ((one, events), (other, mixed)):
        for event in order:
            fleet.take(event, 7.0)
    assert {key: known.count for key, known in one.keys.items()} == {k: v.count for k, v in other.keys.items()}
    truth: Counter[bytes] = Counter()
    for _, key, count in slices:
        truth[b"k%d" % key] += count
    assert {key.data: live.count.requests for key, live in one.keys.items()} == truth
    assert one.requests == other.requests == truth.total() == sum(host.requests for host in one.hosts.values())


def test_a_present_rate_forgets(desk: Desk) -> None:
    desk.at += RECENT_S + 1
    desk.take(arrived("c1", {b"b": 500}))
    assert desk.names[:2] == ["b", "a"]
    desk.press("n")
    assert "  83 req/s  1.23k requests" in desk.screen.splitlines()[0]
    lines = desk.screen.splitlines()
    assert [line.split()[1] for line in lines if line.endswith((" a", " b"))] == ["83", "0.0"]


def test_timelines_of_late_hosts_are_shifted() -> None:
    desk = Desk().trace("c1")
    for second in range(8):
        desk.at += 1
        desk.take(arrived("c1", {b"steady": 100}, second))
        if second == 3:
            desk.trace("c2")
        if second > 3:
            desk.take(arrived("c2", {b"later": 100}, second - 4))
    timelines = {line.split()[-1]: line.split()[-2] for line in desk.screen.splitlines()[3:5]}
    assert timelines == {"steady": "███████", "later": "▁▁▁▁███"}


def test_late_slices_do_not_change_a_rate(desk: Desk) -> None:
    rates = []
    for pause in (1.0, 1.4, 0.6, 2.9, 0.0, 0.1, 1.0):
        desk.at += pause
        desk.take(*(arrived(host, {b"a": 100}) for host in ("c1", "c2")))
        found = re.search(r"  (\d+) req/s", desk.screen)
        assert found is not None
        rates.append(int(found[1]))
    assert rates[-1] == pytest.approx(200, rel=0.1)
    assert max(rates[3:]) < 250


def test_k_t_and_h_choose_what_is_listed(desk: Desk) -> None:
    assert desk.press("t") == []
    assert desk.names == ["user:{}:profile", "cart/{}"]
    desk.press("h")
    assert desk.names == ["c1", "c2", "c3"]
    (failed,) = [line for line in desk.screen.splitlines() if line.endswith("c3")]
    assert "unreachable" in failed and failed.split()[:2] == ["?", "?"]
    desk.press("k")
    assert desk.names[:2] == ["a", "b"]


def test_r_n_b_and_m_choose_the_order(desk: Desk) -> None:
    desk.at += RECENT_S + 1
    desk.take(arrived("c1", {b"miss": known(20, misses=19), b"big": known(30, misses=1, value_bytes=90_000)}))
    orders = {"r": "a", "n": "big", "b": "big", "m": "miss"}
    for key, first in orders.items():
        desk.press(key)
        assert desk.names[0] == first
    assert "by misses" in desk.screen


def test_unknown_columns_are_named(desk: Desk) -> None:
    desk.press("m")
    assert "misses are not known here: ordered by requests" in desk.screen
    assert desk.names[:2] == ["a", "b"]


def test_arrows_select_and_enter_opens(desk: Desk) -> None:
    desk.press("down")
    assert desk.selected == "b"
    desk.press("enter")
    assert "HOSTS of key b by requests" in desk.screen
    assert "250 requests, 34.2% of the fleet, get 100%" in desk.screen
    assert desk.names[-2:] == ["c2", "c1"]
    desk.press("enter")
    assert "KEYS of host c2" in desk.screen
    assert desk.names[0] == "b"
    assert "a" not in desk.names
    desk.press("escape", "escape")
    assert desk.selected == "b"
    assert "KEYS by requests" in desk.screen


def test_enter_opens_a_family(desk: Desk) -> None:
    desk.press("t", "enter")
    assert "KEYS of family user:{}:profile" in desk.screen
    assert all(name.startswith("user:") for name in desk.names)


def test_failed_host_shows_its_error(desk: Desk) -> None:
    desk.press("h", "end", "enter")
    assert "unreachable, not measured\n  no route to 10.0.0.3" in desk.screen


def test_selection_follows_its_key(desk: Desk) -> None:
    desk.press("down")
    desk.take(arrived("c2", {b"b": 500}))
    assert (desk.names[0], desk.selected) == ("b", "b")


def test_long_list_scrolls_with_the_cursor(desk: Desk) -> None:
    desk.press("end")
    assert desk.selected in desk.names
    assert "a" not in desk.names
    desk.press("home")
    assert (desk.selected, desk.names[0]) == ("a", "a")


def test_a_filter_is_typed_kept_and_dropped(desk: Desk) -> None:
    desk.press("/", *"CART", "backspace")
    assert "/CAR_" in desk.screen
    assert all(name.startswith("cart/") for name in desk.names)
    desk.press("enter")
    assert "with 'CAR'" in desk.screen
    desk.press("escape")
    assert desk.names[0] == "a"
    desk.press("/", *"zzz")
    assert "no name has these letters in it" in desk.screen
    desk.press("escape")
    assert desk.names[0] == "a"


def test_letters_of_a_filter_are_no_commands(desk: Desk) -> None:
    assert desk.press("/", "q", "s", "p") == []
    assert desk.view.filter == "qsp"


def test_paused_nothing_moves_and_nothing_is_lost(desk: Desk) -> None:
    before = desk.screen.splitlines()
    desk.press("p")
    desk.at += 3
    desk.take(arrived("c2", {b"b": 500}))
    paused = desk.screen.splitlines()
    assert paused[1] == "PAUSED  KEYS by requests"
    assert [line for row, line in enumerate(paused) if row != 1] == [
        line for row, line in enumerate(before) if row != 1
    ]
    desk.press("p")
    assert desk.names[0] == "b"
    assert "1.23k requests" in desk.screen


def test_q_and_s_return_actions(desk: Desk) -> None:
    assert desk.press("s", "q") == [Action.SAVE, Action.QUIT]


def test_help_explains_keys_and_any_key_closes(desk: Desk) -> None:
    desk.press("?")
    for words in ("k t h", "Enter", "Esc", "r n b m", "save the run as JSON", "The trace"):
        assert words in desk.screen
    assert desk.press("q") == []
    assert desk.names[:2] == ["a", "b"]


def test_phases_are_shown_before_the_first_slice() -> None:
    assert "nothing counted yet: 2 in trace" in Desk().trace("c1", "c2").screen


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50), (40, 10), (20, 5), (1, 1)])
@pytest.mark.parametrize("unicode", [True, False])
def test_screen_fits_the_terminal_and_is_escaped(width: int, height: int, unicode: bool) -> None:
    desk = Desk(LiveView("\x1b[2J*")).trace("\x1b[31mc1")
    desk.take(arrived("\x1b[31mc1", {key: number for number, key in enumerate(HOSTILE, 1)}))
    desk.take(failed("c2", "\x1b]0;x\x07 \u202e\nand more " * 5))
    for keys in ("", "h", "t", "?", ("/", "\u202e"), ("escape", "k", "enter"), ("escape", "h", "enter"), "p"):
        desk.press(*keys)
        lines = frame(desk.view, width, height, desk.at, unicode=unicode)
        assert len(lines) == height
        assert all(cell_len(line.text) <= width for line in lines)
        assert all(char.isprintable() for line in lines for char in line.text)


SECRET = b"0123456789abcdef"


@pytest.mark.parametrize("how", Redact)
def test_names_are_hidden_on_every_screen(how: Redact) -> None:
    desk = Desk(live_view("all", Redaction(how, SECRET))).trace("c1")
    desk.take(arrived("c1", {b"user:%d:profile" % number: number + 1 for number in range(300)}))
    for keys in ("", "t", "enter", "h", "enter", "enter", "k", "enter"):
        desk.press(*([keys] if keys else []))
        assert "profile" not in desk.screen
    desk.press("k")
    assert len(desk.names) == (0 if how is Redact.DROP else 20)


def test_pseudonyms_can_be_filtered() -> None:
    desk = Desk(live_view("all", Redaction(Redact.HASH, SECRET))).trace("c1")
    desk.take(arrived("c1", {b"alice": 2, b"bob": 1}))
    requested = desk.names[1]
    desk.press("/", *requested)
    assert desk.names == [requested]
    desk.press("escape", "/", *"alice")
    assert desk.names == []


def test_memory_does_not_grow_with_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleettrace.tui.fleet.FLEET_KEYS", 50)
    monkeypatch.setattr("fleettrace.tui.fleet.HOST_KEYS", 20)
    fleet = LiveFleet()
    for number in range(400):
        fleet.take(arrived(f"c{number % 2}", {b"k%d" % number: 1, b"hot": 5}), number / 100)
    assert len(fleet.keys) <= 101
    assert all(len(host.keys) <= 41 for host in fleet.hosts.values())
    assert fleet.keys[Key.whole(b"hot")].count.requests == 2000
    fleet.forget(100.0)
    assert fleet.recent == 0
    assert all(live.recent == 0 for live in fleet.keys.values())
