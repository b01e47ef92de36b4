"""A plan depends only on its profile and its seed."""

from __future__ import annotations

from collections import Counter

import pytest

from fleettrace.lab.profile import ALL_VERBS, HOSTILE_ASCII, HOSTILE_BINARY, Profile, plan


def shares(profile: Profile, commands: int = 5000) -> Counter[bytes]:
    return Counter(key for command in plan(profile, 1, commands) for key in command.keys)


def test_plan_depends_only_on_the_seed() -> None:
    profile = Profile(verbs=ALL_VERBS, multiget=10)
    assert plan(profile, 7, 200) == plan(profile, 7, 200)
    assert plan(profile, 7, 200) != plan(profile, 8, 200)


def test_hot_key_gets_its_share() -> None:
    assert 0.27 < shares(Profile(hot={b"hot": 0.3}))[b"hot"] / 5000 < 0.33


def test_late_key_appears_at_late_after() -> None:
    commands = plan(Profile(late={b"late": 0.5}, late_after=0.6), 1, 1000)
    assert not any(b"late" in command.keys for command in commands[:600])
    assert any(b"late" in command.keys for command in commands[600:])


def test_hot_family_has_no_hot_key() -> None:
    counted = shares(Profile(hot_family="f:{n}", hot_family_share=0.5, hot_family_keys=1000))
    family = Counter({key: count for key, count in counted.items() if key.startswith(b"f:")})
    assert 0.45 < family.total() / 5000 < 0.55
    assert max(family.values()) < 20


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"add up to 1\.30"):
        plan(Profile(hot={b"a": 0.6, b"b": 0.7}), 1, 1)


def test_every_hostile_key_and_command_is_drawn() -> None:
    hostile = HOSTILE_ASCII + HOSTILE_BINARY
    commands = plan(Profile(verbs=ALL_VERBS, hostile=hostile, hostile_share=0.5), 1, 4000)
    assert set(hostile) <= {key for command in commands for key in command.keys}
    assert {command.verb for command in commands} == set(ALL_VERBS)
