"""The registry of error codes holds exactly the codes that the program emits."""

from __future__ import annotations

from fleettrace.error_codes import BASTION_PREFIX, Area, error_codes
from tests.docs.emitted_codes import emitted


def test_walk_resolves_every_code() -> None:
    assert emitted().unresolved == []


def test_every_emitted_code_is_registered() -> None:
    assert {code: where for code, where in emitted().codes.items() if code not in error_codes()} == {}


def test_every_registered_code_is_emitted() -> None:
    assert set(error_codes()) - set(emitted().codes) == set()


def test_only_bastions_prefix_a_code() -> None:
    assert set(emitted().prefixes) == {BASTION_PREFIX}


def test_every_code_has_meaning_and_cure_as_sentences() -> None:
    texts = [text for each in error_codes().values() for text in (each.meaning, each.cure)]
    assert [text for text in texts if not text.endswith(".") or len(text.split(". ")) > 2] == []


def test_every_area_has_codes() -> None:
    assert {each.area for each in error_codes().values()} == set(Area)
