"""The report as one HTML file that opens offline, loads nothing, and runs only its own script.

The page consists of three asset files in this directory and the run's data. Keys, hosts and messages are untrusted:
they are JSON in a block that a browser does not execute, and the script shows them only as text. The content security
policy of the page forbids every source, and allows its one script and one style sheet by their hashes.
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
from fleettrace.report.json_format import to_json
from fleettrace.report.model import Report

__all__ = ["HtmlFormatter", "render_html"]

_SLOT = re.compile(r"\{\{([a-z]+)\}\}")


class HtmlFormatter:
    """Writes one self-contained HTML page."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the page of `report` to `out`, a UTF-8 stream. Raises `OSError` as `out` does."""
        out.write(render_html(to_json(report)))


def render_html(report: Mapping[str, object]) -> str:
    """Return the page for a report in its JSON form (plain values). The same report gives the same page.

    Optional fields (`load`, `cause`, `spread`, `trend`, ...) may be absent.
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
    # One pass: inserted text is not searched for slots again.
    return _SLOT.sub(lambda slot: slots[slot[1]], page)


def _inert(data: object) -> str:
    """Return JSON that cannot end the HTML block around it: ASCII only, and no `<`."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
