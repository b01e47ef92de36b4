"""The Markdown report has the cause first, valid tables, and names without markup."""

from __future__ import annotations

import io

from markdown_it import MarkdownIt
from markdown_it.token import Token

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.escape import escape_key
from fleettrace.report.markdown import MarkdownFormatter
from fleettrace.summary.run import RunResult
from tests.report.examples import HOSTILE, add_host, count, failed, new_run, realistic


def written(run: RunResult, top: int = 20) -> str:
    out = io.StringIO()
    MarkdownFormatter().write(build_report(run, top=top), out)
    return out.getvalue()


def tokens(text: str) -> list[Token]:
    """Render the report in GitHub's dialect."""
    return MarkdownIt("gfm-like", {"linkify": False}).parse(text)


def inlines(text: str) -> list[Token]:
    return [child for token in tokens(text) for child in token.children or []]


def hostile() -> RunResult:
    run = new_run("*all*|`")
    extra = (b"[x](javascript:alert(1))", b"![x](http://evil/p.png)", b"@channel", b"**b**", b"`", b"a|b", b"`|`")
    keys = (*HOSTILE, *extra)
    add_host(run, "_c1_", {key: count([index + 1] * 10) for index, key in enumerate(keys)})
    failed(run, "c2", HostState.TRACE_FAILED, "bpftrace", "<img src=x> [a](b) | `c`")
    return run


def test_cause_precedes_tables() -> None:
    text = written(realistic())
    cause = "- **`cache-017` is at 2.15x the mean**; without `user:1:profile` it would be at 0.97x"
    assert text.index(cause) < text.index("| host |")


def test_markdown_tables_parse() -> None:
    text = written(realistic())
    assert sum(token.type == "table_open" for token in tokens(text)) == 3
    assert sum(token.type == "tr_open" for token in tokens(text)) == (1 + 5) + (1 + 20) + (1 + 2)


def test_hostile_names_are_only_code() -> None:
    kinds = {token.type for token in inlines(written(hostile(), 100))}
    assert kinds <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}


def test_hostile_names_do_not_break_rows() -> None:
    text = written(hostile(), 100)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    keys = tokens(text)
    cells = sum(token.type == "td_open" for token in keys)
    assert cells == 6 * 1 + 12 * len(build_report(hostile(), top=100).keys)
    assert len(rows) == 2 + 1 + 2 + len(build_report(hostile(), top=100).keys)


def test_names_are_unchanged_in_code() -> None:
    code = {token.content for token in inlines(written(hostile(), 100)) if token.type == "code_inline"}
    for key in HOSTILE:
        assert escape_key(key) in code
