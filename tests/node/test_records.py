"""Any bytes of a path or a name come through a script's report, however it is cut into chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.node.records import MAX_VALUE, Record, RecordReader, read_records
from tests.node.bpftrace_text import chunked

tags = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12).filter(lambda tag: tag != "trace")
values = st.binary().map(lambda data: data.replace(b"\0", b""))
records = st.lists(st.builds(Record, tags, values))
cuts = st.lists(st.integers(0, 10_000), max_size=10)


def text_of(some: list[Record]) -> bytes:
    return b"".join(b"%b\0%b\0" % (record.tag.encode(), record.value) for record in some)


def read(text: bytes, at: list[int]) -> list[Record | bytes]:
    reader = RecordReader()
    return [item for chunk in chunked(text, at) for item in reader.feed(chunk)]


@given(records, cuts)
def test_records_come_through_any_chunking(some: list[Record], at: list[int]) -> None:
    assert read(text_of(some), at) == some


@given(records, values, records, cuts)
def test_raw_part_is_passed_on_unchanged(before: list[Record], raw: bytes, after: list[Record], at: list[int]) -> None:
    text = text_of([*before, Record("trace", b"")]) + raw + b"\0" + text_of(after)
    items = read(text, at)
    records_read = [item for item in items if isinstance(item, Record)]
    assert records_read == [*before, Record("trace", b""), *after]
    assert b"".join(item for item in items if isinstance(item, bytes)) == raw


@given(records)
def test_report_requires_an_end(some: list[Record]) -> None:
    whole = [*some, Record("end", b"")]
    assert read_records(text_of(whole)) == whole


@given(records, st.data())
def test_a_report_that_breaks_off_is_no_report(some: list[Record], data: st.DataObject) -> None:
    text = text_of([*(record for record in some if record.tag != "end"), Record("end", b"1")])
    with pytest.raises(ValueError, match="breaks off"):
        read_records(text[: data.draw(st.integers(0, len(text) - 1))])


def test_a_value_without_end_is_refused() -> None:
    reader = RecordReader()
    with pytest.raises(ValueError, match="more than"):
        for _ in range(MAX_VALUE // 100_000 + 2):
            list(reader.feed(b"x" * 100_000))
