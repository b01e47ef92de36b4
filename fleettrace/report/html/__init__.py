"""The report as one HTML file that opens offline: nothing is loaded, and nothing in it can run but our own script.

The page is three files beside this one, put together here with the run's data. Keys, hosts and messages are somebody
else's words: they travel as JSON in a block that a browser does not execute, and the script shows them only as text.
The policy in the page forbids every source, and allows its one script and one style sheet by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import TextIO

from fleettrace.report.html.columns import page_data
from fleettrace.report.model import Report

__all__ = ["HtmlFormatter", "render_html"]

_SLOT = re.compile(r"\{\{([a-z]+)\}\}")


class HtmlFormatter:
    """One self-contained HTML page."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the page of `report` to `out`, a stream that can carry UTF-8. Raises OSError as `out` does."""
        from fleettrace.report.json_format import to_json

        out.write(render_html(to_json(report)))


def render_html(report: Mapping[str, object]) -> str:
    """The page of a report, given as the JSON contract has it (plain values). The same report gives the same page.

    Fields beyond the contract (`load`, `cause`, `spread`, `trend`, ...) are shown where they are, and not missed.
    """
    assets = files(__package__)
    style = assets.joinpath("report.css").read_text("utf-8")
    script = assets.joinpath("report.js").read_text("utf-8")
    data = page_data(report)
    slots = {
        "policy": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(ascii(data["title"])[1:-1]),
        "style": style,
        "script": script,
        "data": _inert(data),
    }
    page = assets.joinpath("page.html").read_text("utf-8")
    # One pass: what is put in is never looked at again, whatever it contains.
    return _SLOT.sub(lambda slot: slots[slot[1]], page)


def _inert(data: object) -> str:
    """JSON that cannot end the block it stands in: nothing but ASCII, and no `<`."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
