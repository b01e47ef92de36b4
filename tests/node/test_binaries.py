"""A binary is fetched and analysed once, however many hosts run it; a cache that is broken is no cache."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from fleettrace.binary.analysis import analyse
from fleettrace.binary.elf import BinaryError
from fleettrace.node.binaries import BinaryCatalog, BinaryChangedError, default_cache_dir
from tests.binary.builds import build, stripped

PROGRAM = Path("/bin/true").read_bytes()
OTHER = Path("/bin/false").read_bytes()
NAME = sha256(PROGRAM).hexdigest()
"""What a binary is known by."""


class Source:
    """Gives a binary, and counts how often it is asked."""

    def __init__(self, data: bytes = PROGRAM, seconds: float = 0.0) -> None:
        self.data = data
        self.seconds = seconds
        self.asked = 0
        self._lock = threading.Lock()

    def __call__(self) -> bytes:
        with self._lock:
            self.asked += 1
        time.sleep(self.seconds)
        return self.data


def test_catalog_fetches_the_same_binary_once() -> None:
    catalog, source = BinaryCatalog(None), Source(seconds=0.05)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: catalog.get(NAME, source), range(16)))
    assert source.asked == 1
    assert all(analysis == found[0] for analysis in found)


def test_catalog_stores_analysis_for_next_run(tmp_path: Path) -> None:
    first, again = Source(), Source()
    kept = BinaryCatalog(tmp_path / "new").get(NAME, first)
    assert BinaryCatalog(tmp_path / "new").get(NAME, again) == kept
    assert (first.asked, again.asked) == (1, 0)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"build_id": 7}', "null"])
def test_a_broken_cache_is_passed_over(tmp_path: Path, text: str) -> None:
    BinaryCatalog(tmp_path).get(NAME, Source())
    [file] = tmp_path.iterdir()
    file.write_text(text)
    source = Source()
    BinaryCatalog(tmp_path).get(NAME, source)
    assert source.asked == 1


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert BinaryCatalog(tmp_path / "file" / "below").get(NAME, Source()).build_id


def test_catalog_refuses_content_with_another_hash(tmp_path: Path) -> None:
    catalog = BinaryCatalog(tmp_path)
    with pytest.raises(BinaryChangedError):
        catalog.get(NAME, Source(OTHER))
    assert not list(tmp_path.iterdir())
    assert catalog.get(NAME, Source()) == analyse(PROGRAM)


def test_variants_with_one_build_id_are_two_binaries() -> None:
    catalog = BinaryCatalog(None)
    for path in (build("plain"), stripped("plain")):
        data = path.read_bytes()
        assert catalog.get(sha256(data).hexdigest(), Source(data)) == analyse(data)


def test_a_binary_without_a_hash_is_always_fetched() -> None:
    catalog, source = BinaryCatalog(None), Source()
    assert catalog.get(None, source) == catalog.get(None, source) == catalog.get(NAME, source)
    assert source.asked == 2


def test_a_fetch_that_failed_is_tried_again() -> None:
    def fail() -> bytes:
        raise OSError("gone")

    catalog = BinaryCatalog(None)
    with pytest.raises(OSError, match="gone"):
        catalog.get(NAME, fail)
    assert catalog.get(NAME, Source()).build_id


def test_stalled_fetch_delays_others_at_most_patience() -> None:
    """04_catalog_stall.py of the review: hosts that announce the fleet's common binary, and let their fetch hang."""
    catalog, released = BinaryCatalog(None, patience_s=0.3), threading.Event()

    def stall() -> bytes:
        released.wait(30)
        return b"another content"

    with ThreadPoolExecutor(8) as pool:
        hostile = [pool.submit(catalog.get, NAME, stall) for _ in range(3)]
        time.sleep(0.1)
        began = time.monotonic()
        honest = [pool.submit(catalog.get, NAME, Source()) for _ in range(5)]
        assert all(each.result(20) == analyse(PROGRAM) for each in honest)
        assert time.monotonic() - began < 5
        released.set()
        # By then the binary is known, or what such a host sends is another content.
        for each in hostile:
            assert isinstance(each.exception(20), BinaryChangedError) or each.result() == analyse(PROGRAM)


def test_first_finished_fetch_serves_waiting_hosts() -> None:
    catalog, stalled, released = BinaryCatalog(None, patience_s=0.2), threading.Event(), threading.Event()

    def stall() -> bytes:
        stalled.set()
        released.wait(30)
        return PROGRAM

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(catalog.get, NAME, stall)
        assert stalled.wait(10)
        assert catalog.get(NAME, Source()) == analyse(PROGRAM)
        late = Source()
        assert catalog.get(NAME, late) == analyse(PROGRAM)
        assert late.asked == 0
        released.set()
        assert first.result(10) == analyse(PROGRAM)


def test_after_a_failed_fetch_one_host_tries_again() -> None:
    catalog, failed, source = BinaryCatalog(None), threading.Event(), Source(seconds=0.05)

    def fail() -> bytes:
        failed.set()
        time.sleep(0.1)
        raise OSError("gone")

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(catalog.get, NAME, fail)
        assert failed.wait(10)
        others = [pool.submit(catalog.get, NAME, source) for _ in range(8)]
        assert all(each.result(10) == analyse(PROGRAM) for each in others)
        assert isinstance(first.exception(), OSError)
    assert source.asked == 1


def test_the_cache_is_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "fleettrace/binaries"


def test_binary_that_is_not_understood_is_fetched_once() -> None:
    catalog, source = BinaryCatalog(None), Source(b"no program")
    for _ in range(3):
        with pytest.raises(BinaryError, match="not an ELF file"):
            catalog.get(sha256(source.data).hexdigest(), source)
    assert source.asked == 1
